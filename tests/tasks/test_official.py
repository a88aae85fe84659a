"""The official forms, and what the official scripts compute from them.

The figures below were printed by PubMedQA's
``evaluation.py`` and BLUE's ``eval_hoc.py`` on the very predictions that are made here.
"""

import json
import random

import pytest

from modelzoo_mediswift.tasks.hallmarks import HALLMARKS
from modelzoo_mediswift.tasks.hoc import NONE, HocDocuments
from modelzoo_mediswift.tasks.official import UNPARSED, blue_table, predictions_json
from modelzoo_mediswift.tasks.pubmedqa import PubMedQA

LABELS = ("yes", "no", "maybe")


def test_an_answer_without_a_label_is_a_word() -> None:
    said = json.loads(predictions_json({"1": "yes", "2": None}))
    assert said == {"1": "yes", "2": UNPARSED}
    assert UNPARSED not in LABELS


def test_blue_table() -> None:
    table = blue_table({"7": "cellular energetics|inducing angiogenesis", "8": NONE, "9": None})
    assert table.splitlines() == [
        "index\tlabels",
        "7_s0\tcellular energetics,inducing angiogenesis",
        "8_s0\t",
        "9_s0\t",
    ]


def questions() -> dict[str, str]:
    """276 yes, 169 no, 55 maybe: as many as in the official test set."""
    return {str(i): "yes" if i < 276 else "no" if i < 445 else "maybe" for i in range(500)}


def guesses(share: float, unread: float, seed: int) -> dict[str, str | None]:
    generator = random.Random(seed)
    said: dict[str, str | None] = {
        key: label if generator.random() < share else generator.choice(LABELS)
        for key, label in questions().items()
    }
    return {key: None if generator.random() < unread else label for key, label in said.items()}


@pytest.mark.parametrize(
    ("share", "unread", "printed"),
    [
        (0.0, 0.0, ("0.338000", "0.312625")),
        (0.5, 0.0, ("0.650000", "0.611424")),
        (0.78, 0.0, ("0.852000", "0.820216")),
        (0.7, 0.1, ("0.716000", "0.540034")),
    ],
)
def test_pubmedqa_script(share: float, unread: float, printed: tuple[str, str]) -> None:
    scores = PubMedQA().score(guesses(share, unread, seed=1), questions())
    assert (f"{scores.accuracy:f}", f"{scores.macro_f1:f}") == printed


def documents() -> dict[str, str]:
    """315 documents with one to three hallmarks."""
    generator = random.Random(0)
    sizes = [generator.choice((1, 1, 2, 3)) for _ in range(315)]
    chosen = [sorted(generator.sample(range(10), size)) for size in sizes]
    return {str(i): "|".join(HALLMARKS[d] for d in digits) for i, digits in enumerate(chosen)}


def marked(share: float, seed: int) -> dict[str, str | None]:
    generator = random.Random(seed)
    return {
        key: names
        if generator.random() < share
        else "|".join(name for name in HALLMARKS if generator.random() < 0.2) or NONE
        for key, names in documents().items()
    }


@pytest.mark.parametrize(
    ("share", "printed"),
    [
        (0.0, ("14.2", "16.9", "15.5")),
        (0.3, ("37.9", "40.8", "39.3")),
        (0.7, ("75.6", "76.0", "75.8")),
    ],
)
def test_blue_script(share: float, printed: tuple[str, str, str]) -> None:
    """The script prints precision under the name of recall, and the other way round."""
    found = HocDocuments().score(marked(share, seed=1), documents())
    values = (found.example_precision, found.example_recall, found.example_based_f1)
    assert tuple(f"{100 * value:.1f}" for value in values) == printed
