from pathlib import Path
from xml.etree import ElementTree

import pytest
from test_merge import cited, full, parsed

from data_preprocessing.card import count_documents, write_card
from data_preprocessing.merge import merge_records
from modelzoo_mediswift.errors import UserError


@pytest.fixture
def merged(tmp_path: Path) -> Path:
    files = [
        [cited(1, "ab", year=1999), cited(2, "é", year=2003), cited(3, "c"), cited(1, "abcd")],
        [full(9, text="body", year=2003, licence="CC-BY"), full(8, text="<b>|", licence="A&B")],
    ]
    folder = parsed(tmp_path / "parsed", *files)
    merge_records(folder, tmp_path / "merged", validation_share=0)
    return tmp_path / "merged"


def test_counts_by_hand(merged: Path) -> None:
    corpus = count_documents(merged)
    assert corpus.documents == {("train", "pubmed_abstract"): 3, ("train", "pmc_fulltext"): 2}
    assert corpus.text_bytes == {"pubmed_abstract": 4 + 2 + 1, "pmc_fulltext": 8}
    assert corpus.years == {
        ("pubmed_abstract", None): 2,
        ("pubmed_abstract", 2003): 1,
        ("pmc_fulltext", 2003): 1,
        ("pmc_fulltext", None): 1,
    }
    assert corpus.licences["pmc_fulltext", "CC-BY"] == 1
    assert corpus.licences["pubmed_abstract", "not stated"] == 3


def test_pages(merged: Path, tmp_path: Path) -> None:
    told = write_card(merged, tmp_path / "card", parsed_dir=None, packed_dir=None)
    assert told == {"documents": 5, "dropped": 1}
    text = (tmp_path / "card" / "card.md").read_text()
    assert "| superseded | 1 |" in text
    assert "| 2000s | 1 | 1 |" in text
    assert "| not stated | 2 | 1 |" in text
    assert "6 records in, 5 out" in text
    page = (tmp_path / "card" / "card.html").read_text()
    assert "<td>A&amp;B</td>" in page
    assert page.count("<svg") == 2
    for name in ("years.svg", "dropped.svg"):
        assert ElementTree.parse(tmp_path / "card" / name).getroot().tag.endswith("svg")


def test_same_corpus_same_bytes(merged: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_card(merged, tmp_path / name, parsed_dir=None, packed_dir=None)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_not_a_merged_corpus(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"counts\.json: cannot be read"):
        write_card(tmp_path, tmp_path / "card", parsed_dir=None, packed_dir=None)


def test_folders_of_other_stages(merged: Path, tmp_path: Path) -> None:
    (tmp_path / "finetuned" / "train").mkdir(parents=True)
    (tmp_path / "finetuned" / "train" / "data_params.json").write_text('{"counts": {}}')
    for folders, message in (
        ({"parsed_dir": merged, "packed_dir": None}, "has no totals; .* that `parse` writes"),
        ({"parsed_dir": None, "packed_dir": tmp_path / "finetuned"}, "has no packing; .* `pack`"),
        ({"parsed_dir": None, "packed_dir": merged}, r"data_params\.json: cannot be read"),
    ):
        with pytest.raises(UserError, match=message):
            write_card(merged, tmp_path / "card", **folders)
