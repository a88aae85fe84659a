import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_preprocessing.merge import in_validation, merge_records
from data_preprocessing.parse import METADATA_KEY
from data_preprocessing.records import (
    PMC_FULLTEXT,
    PUBMED_ABSTRACT,
    RETRACTED,
    Record,
    read_parquet,
    write_parquet,
)
from modelzoo_mediswift.errors import UserError


def cited(pmid: int, text: str = "text", **fields: object) -> Record:
    record = Record(pmid=pmid, title=f"T{pmid}", text=text, source=PUBMED_ABSTRACT)
    return replace(record, **fields)


def full(
    pmcid: int | None, pmid: int | None = None, text: str = "body", **fields: object
) -> Record:
    record = Record(pmid=pmid, pmcid=pmcid, title="T", text=text, source=PMC_FULLTEXT)
    return replace(record, **fields)


Item = Record | tuple[str, int]
"""A record, or ("delete", PMID)."""


def parsed(folder: Path, *files: list[Item]) -> Path:
    """Lay out `files` as the parse stage does."""
    folder.mkdir()
    names = []
    for number, items in enumerate(files):
        records = [item for item in items if isinstance(item, Record)]
        deletions = []
        rows = 0
        for item in items:
            if isinstance(item, Record):
                rows += 1
            else:
                deletions.append((item[1], rows))
        names.append(f"{number:05d}-file.parquet")
        footer = {METADATA_KEY: json.dumps({"deletions": deletions})}
        write_parquet(folder / names[-1], records, footer)
    manifest = {"files": [{"parquet": name} for name in names]}
    (folder / "counts.json").write_text(json.dumps(manifest))
    return folder


def merge(tmp_path: Path, *files: list[Item], **options: object) -> tuple[list[Record], dict]:
    """Merge `files`; the kept records are the training split's, in order."""
    options = {"validation_share": 0, **options}
    counts = merge_records(parsed(tmp_path / "in", *files), tmp_path / "out", **options)
    assert json.loads((tmp_path / "out" / "counts.json").read_text())["in"] == counts["in"]
    return list(read_parquet(tmp_path / "out" / "train.parquet")), counts


# -- the last word -------------------------------------------------------------------------------


def test_later_file_wins_whatever_its_date(tmp_path: Path) -> None:
    old = cited(1, "old", date_revised="2020-01-01", version=2)
    new = cited(1, "new", date_revised="2019-01-01")
    kept, counts = merge(tmp_path, [old, cited(2)], [new])
    assert kept == [cited(2), new]
    assert counts["dropped"] == {"superseded": 1}


def test_in_one_file_version_then_date_then_place_decide(tmp_path: Path) -> None:
    kept, _ = merge(
        tmp_path,
        [
            cited(1, "version 2", version=2, date_revised="2001-01-01"),
            cited(1, "version 1", version=1, date_revised="2005-01-01"),
            cited(2, "later date", date_revised="2005-01-01"),
            cited(2, "earlier date", date_revised="2001-12-31"),
            cited(2, "no date"),
            cited(3, "first"),
            cited(3, "second"),
        ],
    )
    assert [record.text for record in kept] == ["version 2", "later date", "second"]


def test_a_revision_without_abstract_is_the_last_word_too(tmp_path: Path) -> None:
    kept, counts = merge(tmp_path, [cited(1, "had text")], [cited(1, "")])
    assert kept == []
    assert counts["dropped"] == {"superseded": 1, "title_only": 1}


def test_deletions_reach_back_but_not_forward(tmp_path: Path) -> None:
    kept, counts = merge(
        tmp_path,
        [cited(1), cited(2), cited(3), full(9, pmid=1)],
        [cited(2, "revised"), ("delete", 1), ("delete", 2), cited(3, "revised")],
        [cited(2, "back again"), ("delete", 77)],
        [cited(4), ("delete", 4)],
    )
    assert [(r.source, r.pmid, r.text) for r in kept] == [
        (PMC_FULLTEXT, 1, "body"),
        (PUBMED_ABSTRACT, 3, "revised"),
        (PUBMED_ABSTRACT, 2, "back again"),
    ]
    assert counts["dropped"] == {"deleted": 4, "superseded": 1}
    assert counts["deletions"] == 4


def test_what_follows_its_deletion_in_the_same_file_stays(tmp_path: Path) -> None:
    kept, counts = merge(tmp_path, [cited(1), cited(2), ("delete", 2), cited(2, "again"), cited(3)])
    assert [(r.pmid, r.text) for r in kept] == [(1, "text"), (2, "again"), (3, "text")]
    assert counts["dropped"] == {"deleted": 1}


def test_abstract_and_full_text_of_one_article_are_both_kept(tmp_path: Path) -> None:
    kept, counts = merge(
        tmp_path, [cited(1, pmcid=5)], [full(5, pmid=1), full(1), full(5, 1, "new")]
    )
    assert [(r.source, r.document_id, r.text) for r in kept] == [
        (PUBMED_ABSTRACT, "PMID:1", "text"),
        (PMC_FULLTEXT, "PMC1", "body"),
        (PMC_FULLTEXT, "PMC5", "new"),
    ]
    assert counts["sources"][PMC_FULLTEXT]["dropped"] == {"superseded": 1}


def test_full_texts_without_pmcid(tmp_path: Path) -> None:
    kept, counts = merge(
        tmp_path, [full(None, 7, "a"), full(7, None, "b"), full(None, 7, "c"), full(None, None)]
    )
    assert [r.text for r in kept] == ["b", "c"]
    assert counts["dropped"] == {"no_id": 1, "superseded": 1}


# -- filters -------------------------------------------------------------------------------------


def test_entries_without_text(tmp_path: Path) -> None:
    kept, counts = merge(
        tmp_path, [cited(1), cited(2, ""), cited(3, "", title=""), full(4, text="")]
    )
    assert [r.pmid for r in kept] == [1]
    assert counts["dropped"] == {"title_only": 2, "empty": 1}


def test_retraction_reaches_abstract_and_full_text(tmp_path: Path) -> None:
    retracted = {"publication_types": ["Journal Article", RETRACTED]}
    files = [
        [cited(1, **retracted), cited(2, pmcid=20, **retracted), cited(3), cited(4)],
        [full(10, pmid=1), full(20), full(30, pmid=3, **retracted), full(40, pmid=4)],
    ]
    kept, counts = merge(tmp_path, *files)
    assert [r.document_id for r in kept] == ["PMID:4", "PMC40"]
    assert counts["dropped"] == {"retracted": 6}
    again = merge_records(
        tmp_path / "in", tmp_path / "all", validation_share=0, keep_retracted=True
    )
    assert (again["out"], again["dropped"]) == (8, {})


def test_retraction_that_was_itself_revised_away_does_not_count(tmp_path: Path) -> None:
    kept, _ = merge(tmp_path, [cited(1, publication_types=[RETRACTED])], [cited(1)])
    assert [r.pmid for r in kept] == [1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"languages": ["english", "en"]},
            "languages: no record has en; they have eng,",
        ),
        ({"licences": ["cc-by"]}, "licences: no record has cc-by; they have CC-BY$"),
    ],
)
def test_a_name_that_no_record_has(tmp_path: Path, options: Any, message: str) -> None:
    records = [cited(1, language="eng"), cited(2, language="fre"), full(3, licence="CC-BY")]
    with pytest.raises(UserError, match=message):
        merge(tmp_path, records, **options)


def test_a_code_that_happens_not_to_occur(tmp_path: Path) -> None:
    records = [cited(1), full(3, licence="CC-BY")]
    kept, _ = merge(tmp_path, records, licences=["CC-BY-NC-SA", "CC0"], languages=["eng", "ger"])
    assert [record.pmid for record in kept] == [1]


def test_abstracts_alone_state_no_licence(tmp_path: Path) -> None:
    kept, _ = merge(tmp_path, [cited(1)], licences=["CC-BY"])
    assert len(kept) == 1


def test_languages(tmp_path: Path) -> None:
    records = [cited(1), cited(2, language="fre"), cited(3, language="und")]
    kept, counts = merge(tmp_path, records, languages=["eng", "fre"])
    assert [r.pmid for r in kept] == [1, 2]
    assert counts["dropped"] == {"language": 1}


def test_excluded_pmids_leave_both_sources(tmp_path: Path) -> None:
    files = [[cited(1), cited(2, pmcid=20), cited(3)], [full(10, pmid=1), full(20), full(30)]]
    kept, counts = merge(tmp_path, *files, exclude_pmids={1, 2, 999})
    assert [r.document_id for r in kept] == ["PMID:3", "PMC30"]
    assert counts["dropped"] == {"excluded_pmid": 4}
    assert json.loads((tmp_path / "out" / "counts.json").read_text())["options"] == {
        "validation_share": 0,
        "seed": 0,
        "languages": None,
        "licences": None,
        "exclude_pmids": 3,
        "keep_retracted": False,
        "prefer_fulltext": False,
        "duplicates": False,
        "near_duplicates": None,
        "decontaminate": [],
        "ngram": None,
    }


# -- the split -----------------------------------------------------------------------------------


def test_split_by_hand() -> None:
    """The rule spelled out: the first 8 bytes of BLAKE2b of "seed:PMID:pmid", as a fraction."""
    digest = hashlib.blake2b(b"0:PMID:12345", digest_size=8).digest()
    fraction = int.from_bytes(digest, "big") / 2**64
    assert not in_validation(12345, None, fraction, seed=0)
    assert in_validation(12345, 9, fraction + 1e-9, seed=0)


def test_split_has_its_share_and_depends_on_the_seed() -> None:
    chosen = {seed: {i for i in range(1, 40001) if in_validation(i, None, 0.03, seed)}
              for seed in (0, 1)}  # fmt: skip
    for ids in chosen.values():
        assert abs(len(ids) - 1200) < 5 * (40000 * 0.03 * 0.97) ** 0.5
    assert len(chosen[0] & chosen[1]) < 100


def test_an_article_is_on_one_side_and_stays_there(tmp_path: Path) -> None:
    abstracts = [cited(i) for i in range(1, 400)]
    texts = [full(5000 + i, pmid=i) for i in range(1, 400)]
    counts = merge_records(
        parsed(tmp_path / "in", abstracts, texts), tmp_path / "out", validation_share=0.2
    )
    sides = {
        split: list(read_parquet(tmp_path / "out" / f"{split}.parquet"))
        for split in ("train", "validation")
    }
    assert counts["train"] == len(sides["train"])
    assert counts["validation"] == len(sides["validation"])
    assert 100 < counts["validation"] < 220
    pmids = {split: {r.pmid for r in records} for split, records in sides.items()}
    assert not pmids["train"] & pmids["validation"]
    for split, records in sides.items():
        by_source = [
            [r.pmid for r in records if r.source == s] for s in (PUBMED_ABSTRACT, PMC_FULLTEXT)
        ]
        assert by_source[0] == by_source[1] == sorted(pmids[split])

    fewer = merge_records(
        parsed(tmp_path / "in2", abstracts[::2]), tmp_path / "out2", validation_share=0.2
    )
    held_out = {r.pmid for r in read_parquet(tmp_path / "out2" / "validation.parquet")}
    assert held_out == pmids["validation"] & {r.pmid for r in abstracts[::2]}
    assert fewer["validation"] == len(held_out)


def test_same_input_same_bytes(tmp_path: Path) -> None:
    parsed(
        tmp_path / "in", [cited(i, f"text {i}") for i in range(1, 3000)], [full(i) for i in (1, 2)]
    )
    digests = []
    for name in ("a", "b"):
        merge_records(tmp_path / "in", tmp_path / name)
        files = sorted((tmp_path / name).iterdir())
        digests.append([(f.name, hashlib.sha256(f.read_bytes()).hexdigest()) for f in files])
    assert digests[0] == digests[1]
    assert [name for name, _ in digests[0]] == [
        "counts.json",
        "train.parquet",
        "validation.parquet",
    ]


# -- against a plain reading of the rules --------------------------------------------------------

_items = st.one_of(
    st.builds(
        cited,
        st.integers(1, 4),
        st.sampled_from(["", "a", "b"]),
        version=st.integers(1, 2),
        date_revised=st.sampled_from([None, "2001-01-01", "2002-01-01"]),
        pmcid=st.sampled_from([None, 11, 12]),
        publication_types=st.sampled_from([[], [], [RETRACTED]]),
    ),
    st.builds(full, st.sampled_from([None, 11, 12]), st.sampled_from([None, 1, 2])),
    st.tuples(st.just("delete"), st.integers(1, 4)),
)


def _plainly(files: list[list[Item]], excluded: set[int]) -> list[Record]:
    live: dict[tuple[str, str], tuple[tuple[int, int, str, int], Record]] = {}
    for number, items in enumerate(files):
        for row, item in enumerate(items):
            if not isinstance(item, Record):
                live.pop((PUBMED_ABSTRACT, f"PMID:{item[1]}"), None)
            elif item.pmid or item.pmcid:
                rank = (number, item.version, item.date_revised or "", row)
                key = (item.source, item.document_id)
                if key not in live or live[key][0] < rank:
                    live[key] = (rank, item)
    records = [record for _, record in sorted(live.values(), key=lambda e: (e[0][0], e[0][3]))]
    everything = [item for items in files for item in items if isinstance(item, Record)]
    withdrawn = [r for r in records if RETRACTED in r.publication_types]
    banned = [r for r in everything if r.pmid in excluded]
    pmids = {r.pmid for r in withdrawn + banned} - {None}
    pmcids = {r.pmcid for r in withdrawn + banned} - {None}
    return [r for r in records if r.text and r.pmid not in pmids and r.pmcid not in pmcids]


@settings(max_examples=60, deadline=None)
@given(
    files=st.lists(st.lists(_items, max_size=7), min_size=1, max_size=3),
    excluded=st.sets(st.integers(1, 4), max_size=1),
)
def test_merge_equals_a_plain_reading_of_its_rules(
    tmp_path_factory: pytest.TempPathFactory, files: list[list[Item]], excluded: set[int]
) -> None:
    kept, counts = merge(tmp_path_factory.mktemp("merge"), *files, exclude_pmids=excluded)
    assert kept == _plainly(files, excluded)
    assert counts["in"] == counts["out"] + sum(counts["dropped"].values())


# -- mistakes ------------------------------------------------------------------------------------


def test_mistakes_are_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"counts\.json: not found; `parse` writes it"):
        merge_records(tmp_path / "none", tmp_path / "out")
    folder = parsed(tmp_path / "in", [cited(1)])
    with pytest.raises(UserError, match=r"validation_share: expected a number in \[0, 1\), got 1"):
        merge_records(folder, tmp_path / "out", validation_share=1)
    with pytest.raises(UserError, match="another folder"):
        merge_records(folder, folder)
    (folder / "00000-file.parquet").write_bytes(b"PAR1")
    with pytest.raises(UserError, match=r"00000-file\.parquet: not a readable Parquet file"):
        merge_records(folder, tmp_path / "out")
    write_parquet(folder / "00000-file.parquet", [cited(1)])
    with pytest.raises(UserError, match=r"00000-file\.parquet: not written by `parse`"):
        merge_records(folder, tmp_path / "out")
    (folder / "counts.json").write_text("[]")
    with pytest.raises(UserError, match=r"counts\.json: not written by `parse`"):
        merge_records(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()
