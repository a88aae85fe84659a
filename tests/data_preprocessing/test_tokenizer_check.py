import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from data_preprocessing.bpe import train_tokenizer
from data_preprocessing.tokenizer_check import (
    compare_with_sacremoses,
    format_comparison,
    format_round_trip,
    measure_round_trip,
)
from modelzoo_mediswift.errors import UserError


def test_equal_lines_are_counted() -> None:
    result = compare_with_sacremoses(["IL-6 (p<0.05).", "", "Two lines.\nIn one text."])
    assert (result.lines, result.tokens) == (3, 9 + 3 + 4)
    assert (result.differing_lines, result.differing_tokens) == (0, 0)
    assert result.share_of_equal_lines == 1
    assert format_comparison(result).splitlines() == [
        "lines compared with sacremoses: 3 (16 tokens)",
        "lines with equal tokens: 3 (100.0000%)",
        "tokens that differ: 0",
    ]


def test_differences_are_classed_and_shown() -> None:
    lines = [
        "equal",
        "a b c DOTMULTI d",
        "x'" * 60 + "y",
        "1" + "'2" * 60,
        "a." + "b" * 120 + ". C",
    ]
    result = compare_with_sacremoses(lines)
    assert result.lines == 5
    assert {kind: d.lines for kind, d in result.differences.items()} == {
        "the text holds Moses' placeholder for periods": 1,
        "more than 16 apostrophes or commas in a chain": 2,
        "a word of more than 100 characters with periods": 1,
    }
    assert result.differing_lines == 4
    assert result.share_of_equal_lines == pytest.approx(0.2)
    first = result.differences["the text holds Moses' placeholder for periods"]
    assert (first.ours, first.reference) == (["b", "c", "DOTMULTI", "d"], ["b", "c", ".", "d"])
    assert "    sacremoses b c . d" in format_comparison(result).splitlines()


def test_without_sacremoses_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sacremoses", None)
    with pytest.raises(UserError, match="pip install sacremoses"):
        compare_with_sacremoses(["a"])


def test_round_trip_counts_what_does_not_come_back() -> None:
    texts = ["IL-6  is (here).", "p<0.05", "( spaced )", "lost\x07bell", "same"]
    result = measure_round_trip(train_tokenizer(texts, 300, progress=False), texts)
    assert (result.texts, result.words) == (5, 3 + 1 + 3 + 1 + 1)
    assert result.same_characters == 4  # all but the bell
    assert result.same_words == 2
    assert result.wrong_spacing == {"p_<": 1, "<_0": 1, "(s": 1, "d)": 1}
    assert "same but for white space: 4 (80.0000%)" in format_round_trip(result)


def real_lines(folder: Path) -> Iterator[str]:
    """Titles and abstracts of three corpora, questions and contexts of PubMedQA."""
    for path in [*folder.glob("text/bc5cdr/*Dev*.txt"), *folder.glob("text/ncbi_disease/*.txt")]:
        for line in path.read_text(encoding="utf-8").splitlines():
            parts = line.split("|", 2)
            if len(parts) == 3 and parts[1] in ("t", "a"):
                yield parts[2]
    abstracts = json.loads((folder / "text/kd_dti/valid.json").read_text(encoding="utf-8"))
    for entry in abstracts.values():
        yield entry["title"]
        yield entry["abstract"]
    questions = json.loads((folder / "pubmedqa/ori_pqal.json").read_text(encoding="utf-8"))
    for entry in list(questions.values())[:200]:
        yield entry["QUESTION"]
        yield from entry["CONTEXTS"]


@pytest.mark.real_data
def test_real_text_has_the_tokens_of_sacremoses(real_data: Path) -> None:
    result = compare_with_sacremoses(real_lines(real_data))
    assert result.lines > 4000
    assert result.share_of_equal_lines >= 0.9999, format_comparison(result)
    assert "not explained" not in result.differences


@pytest.mark.real_data
def test_real_text_comes_back(real_data: Path) -> None:
    texts = list(real_lines(real_data))
    result = measure_round_trip(train_tokenizer(texts[::10], 2000, progress=False), texts[::3])
    assert result.same_characters == result.texts
    assert result.same_words / result.texts > 0.75
    assert result.wrong_spacing.total() / result.words < 0.02
