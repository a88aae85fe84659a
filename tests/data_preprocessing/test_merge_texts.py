"""merge's rules about the texts: copies, near copies, contamination, licences, full texts."""

import json
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from peak_memory import megabytes
from test_merge import cited, full, merge, parsed

from data_preprocessing.decontaminate import Contamination, Shingler, evaluation_texts
from data_preprocessing.deduplicate import (
    PERMUTATIONS,
    bands_for,
    later_copies,
    near_copies,
    signature,
)
from data_preprocessing.merge import merge_records
from data_preprocessing.merge_texts import TextRules
from data_preprocessing.records import Record, write_parquet
from modelzoo_mediswift.errors import UserError

WORDS = [f"word{i}" for i in range(2000)]


def prose(seed: int, words: int = 120) -> str:
    return " ".join(random.Random(seed).choices(WORDS, k=words))


def changed(text: str, every: int) -> str:
    """The text with one word in `every` replaced."""
    words = text.split()
    return " ".join("other" if i % every == every // 2 else w for i, w in enumerate(words))


# -- exact copies --------------------------------------------------------------------------------


def test_of_equal_texts_the_first_stays(tmp_path: Path) -> None:
    kept, counts = merge(
        tmp_path,
        [cited(1, "a b"), cited(2, "c"), cited(3, "a  b\n"), full(9, text="c")],
        [cited(2, "revised"), cited(4, "a b"), cited(5, "A b")],
        text_rules=TextRules(duplicates=True),
    )
    # "c" of the superseded record 2 makes no copy of PMC9's.
    assert [r.document_id for r in kept] == ["PMID:1", "PMC9", "PMID:2", "PMID:5"]
    assert counts["dropped"] == {"superseded": 1, "duplicate": 2}


def test_later_copies_by_hand() -> None:
    hashes = np.array([7, 7, 3, 7, 3, 9], np.uint64)
    assert later_copies(hashes, np.array([0, 1, 2, 3, 4, 5])).tolist() == [1, 3, 4]
    assert later_copies(hashes, np.array([1, 3, 4, 5])).tolist() == [3]


# -- near copies ---------------------------------------------------------------------------------


def test_near_copies_go_and_others_stay(tmp_path: Path) -> None:
    pytest.importorskip("rensa")
    text = prose(1)
    kept, counts = merge(
        tmp_path,
        [cited(1, text), cited(2, prose(2)), cited(3, changed(text, 100))],
        [cited(4, changed(text, 10)), cited(5, text), cited(6, "too short"), cited(7, prose(7))],
        text_rules=TextRules(near_duplicates=0.8),
    )
    # One word in 100 of 120 spoils 5 of 116 runs: Jaccard 111 / 121. One in ten spoils half.
    assert [r.pmid for r in kept] == [1, 2, 4, 6, 7]
    assert counts["dropped"] == {"near_duplicate": 2}
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "counts.json",
        "train.parquet",
        "validation.parquet",
    ]


def test_near_copies_against_comparing_every_pair() -> None:
    """Against all pairs, on signatures with known agreement: nothing at the threshold is missed."""
    generator = np.random.default_rng(0)
    originals = generator.integers(0, 2**32, (40, PERMUTATIONS), dtype=np.uint32)
    copies = originals.repeat(3, axis=0)
    noise = generator.random(copies.shape) < np.tile([0.0, 0.05, 0.5], 40)[:, None]
    copies[noise] = generator.integers(0, 2**32, noise.sum(), dtype=np.uint32)
    candidates = np.flatnonzero(np.arange(120) != 3)
    expected = [
        i
        for i in candidates.tolist()
        if any((copies[i] == copies[j]).mean() >= 0.8 for j in candidates[candidates < i])
    ]
    assert near_copies(copies, candidates, 0.8).tolist() == expected
    assert len(expected) == 39


def test_bands_by_hand() -> None:
    # 16 bands of 8: 1 - (1 - 0.8^8)^16 = 0.947; 32 bands of 4: 1 - (1 - 0.8^4)^32 > 0.9999.
    assert bands_for(0.8) == 32
    assert bands_for(0.9) == 16
    assert bands_for(1.0) == 1


def test_signatures_are_what_they_were() -> None:
    """Recorded: the pinned library and our shingles decide which documents stay."""
    rensa = pytest.importorskip("rensa")
    assert signature(rensa, "a b c d e f")[:3] == signature(rensa, "A b  c d E f")[:3]
    a, b = signature(rensa, prose(1)), signature(rensa, changed(prose(1), 30))
    agreement = sum(x == y for x, y in zip(a, b, strict=True)) / PERMUTATIONS
    # 4 of 120 words: 20 of 116 runs differ, Jaccard 96 / 136 = 0.706, sd 0.04.
    assert agreement == pytest.approx(0.706, abs=0.12)


# -- contamination -------------------------------------------------------------------------------


def test_a_shared_run_of_words_contaminates(tmp_path: Path) -> None:
    question = prose(1, 40)
    test_set = tmp_path / "test.json"
    test_set.write_text(json.dumps({"1": {"QUESTION": "Short?", "CONTEXTS": [question[:100],
                                    question[100:]], "YEAR": 2001}}))  # fmt: skip
    run = question.split()[5:18]
    kept, counts = merge(
        tmp_path,
        [
            cited(1, prose(2) + " " + " ".join(run) + " " + prose(3)),
            cited(2, prose(4) + " " + " ".join(run[:12]) + " " + prose(5)),
            cited(3, f"{prose(6)} ({'; '.join(run).upper()})."),
            cited(4, "Short?"),
        ],
        text_rules=TextRules(decontaminate=(test_set,)),
    )
    assert [r.pmid for r in kept] == [2, 4]
    assert counts["dropped"] == {"contaminated": 2}


def test_shingles_by_hand() -> None:
    shingler = Shingler(2)
    words = shingler.words("One two, ONE_two one-two; α β")
    assert words == ["one", "two", "one", "two", "one", "two", "α", "β"]
    hashes = shingler.hashes(words)
    assert len(hashes) == 7
    assert len(set(hashes.tolist())) == 4  # one two, two one, two α, α β
    assert len(shingler.hashes(["one"])) == 0


def test_forms_of_evaluation_files(tmp_path: Path) -> None:
    forms = {
        "a.json": ('{"x": ["a", "b"], "y": [{"z": "c"}, 5]}', ["a b", "c"]),
        # U+2028 ends a line for str.splitlines, and for neither of these formats.
        "a.jsonl": ('{"x": "a\u2028b"}\n\n{"x": "b"}\n', ["a\u2028b", "b"]),
        "a.tsv": ("0_0\ta\u2028b\tid\n1\tc\tid", ["0_0", "a\u2028b", "id", "1", "c", "id"]),
        "a.csv": ('x,"a, b"\n', ["x", "a, b"]),
        "a.txt": ("a\nb\n\nc", ["a\nb", "c"]),
    }
    for name, (content, texts) in forms.items():
        (tmp_path / name).write_text(content)
        assert list(evaluation_texts(tmp_path / name)) == texts
    (tmp_path / "a.json").write_text("{")
    for name, message in (("a.json", "not a readable .json file"), ("none", "cannot be read")):
        with pytest.raises(UserError, match=message):
            list(evaluation_texts(tmp_path / name))
    with pytest.raises(UserError, match=r"a\.txt: no text of 13 words or more"):
        Contamination([tmp_path / "a.txt"])


# -- licences, full texts ------------------------------------------------------------------------


def test_licences_of_full_texts(tmp_path: Path) -> None:
    records = [cited(1), full(1, licence="CC-BY"), full(2, licence="CC-BY-NC"), full(3)]
    kept, counts = merge(tmp_path, records, licences=["CC-BY", "CC0"])
    assert [r.document_id for r in kept] == ["PMID:1", "PMC1"]
    assert counts["dropped"] == {"licence": 2}


def test_a_full_text_replaces_its_abstract_if_it_stays(tmp_path: Path) -> None:
    kept, counts = merge(
        tmp_path,
        [cited(1), cited(2, pmcid=20), cited(3), cited(4), cited(5)],
        [full(10, pmid=1), full(20), full(30, pmid=3, text=""), full(40, 4, licence="X")],
        licences=["CC-BY"],
        prefer_fulltext=True,
    )
    assert [r.document_id for r in kept] == ["PMID:1", "PMID:2", "PMID:3", "PMID:4", "PMID:5"]
    assert counts["dropped"] == {"licence": 4, "has_fulltext": 0}
    again = merge_records(
        tmp_path / "in", tmp_path / "all", validation_share=0, prefer_fulltext=True
    )
    assert again["dropped"] == {"title_only": 1, "has_fulltext": 3}
    assert again["sources"]["pubmed_abstract"]["out"] == 2


# -- scale ---------------------------------------------------------------------------------------


def test_the_number_of_workers_changes_no_byte(tmp_path: Path) -> None:
    test_set = tmp_path / "test.txt"
    test_set.write_text(prose(3))
    files = [[cited(100 * f + i + 1, prose(i, 60 + f)) for i in range(40)] for f in range(3)]
    folder = parsed(tmp_path / "in", *files)
    rules = TextRules(duplicates=True, near_duplicates=0.7, decontaminate=(test_set,))
    pytest.importorskip("rensa")
    outputs = []
    for workers in (1, 2):
        out = tmp_path / f"out{workers}"
        counts = merge_records(folder, out, text_rules=rules, workers=workers)
        outputs.append({path.name: path.read_bytes() for path in sorted(out.iterdir())})
    assert outputs[0] == outputs[1]
    assert set(counts["dropped"]) == {"near_duplicate", "contaminated", "duplicate"}


def test_memory_does_not_grow_with_the_texts(tmp_path: Path) -> None:
    """The same number of records, 120 MB and 370 MB of text."""
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from data_preprocessing.merge import merge_records\n"
        "from data_preprocessing.merge_texts import TextRules\n"
        "folder = Path(sys.argv[1])\n"
        "merge_records(folder, folder.with_name(folder.name + '-out'),\n"
        "              text_rules=TextRules(duplicates=True), prefer_fulltext=True)\n"
        "print(peak())\n"
    )
    peaks = []
    for kilobytes in (40, 120):
        folder = tmp_path / str(kilobytes)
        parsed(folder, [])
        base = random.Random(0).randbytes(kilobytes << 9).hex()
        records = (replace(cited(i), text=f"{i} {base[i:]} {base[:i]}") for i in range(1, 3001))
        write_records(folder, records)
        peaks.append(megabytes(program, folder))
    # What there is of it is row groups of 16 MB that Arrow has not given back.
    assert peaks[1] - peaks[0] < 100, peaks


def write_records(folder: Path, records: object) -> None:
    from data_preprocessing.parse import METADATA_KEY

    footer = {METADATA_KEY: json.dumps({"deletions": []})}
    assert isinstance(Record, type)
    write_parquet(folder / "00000-file.parquet", records, footer)  # type: ignore[arg-type]


def test_mistakes(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"near_duplicates: expected a number in \(0, 1\], got 1.5"):
        TextRules(near_duplicates=1.5)
    with pytest.raises(UserError, match="ngram: expected a positive number"):
        TextRules(ngram=0)
