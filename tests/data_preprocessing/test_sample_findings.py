"""The generated science: templates, and numbers that agree with each other and the verdict."""

import math
import random
import re

import pytest

from data_preprocessing.sample.findings import FAMILIES, VERDICTS, draw_finding
from data_preprocessing.sample.grammar import capitalise, expand
from data_preprocessing.sample.numbers import Style, compare, p_text
from data_preprocessing.sample.studies import tell

STYLE = Style("p = {}", "95% CI {} to {}")


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("no choice", "no choice"),
        ("[x|x] and {a}", "x and 1"),
        ("[p [q|q]|p q] r", "p q r"),
        ("left [|] right .", "left right."),
        ("a {vowel} and a {b}", "an effect and a dose"),
        ("a unique case in an one-year study", "a unique case in a one-year study"),
        ("first. {a} then. second part", "first. 1 then. Second part"),
    ],
)
def test_slots_of_a_template_are_filled(template: str, expected: str) -> None:
    slots = {"a": "1", "b": "dose", "vowel": "effect"}
    assert expand(template, slots, random.Random(0)) == expected


def test_expand_draws_every_branch() -> None:
    rng = random.Random(0)
    assert {expand("[a|b [c|d]|]", {}, rng) for _ in range(100)} == {"a", "b c", "b d", ""}


def test_a_missing_slot_is_an_error() -> None:
    with pytest.raises(KeyError, match="nothing"):
        expand("{nothing}", {}, random.Random(0))


def test_capitalise_leaves_symbols_alone() -> None:
    assert capitalise("miR-9304 was high") == "miR-9304 was high"
    assert capitalise("the rate") == "The rate"


@pytest.mark.parametrize(
    ("z", "expected"),
    [(1.959964, "p = 0.05"), (2.6, "p = 0.009"), (0.674490, "p = 0.50"), (4.0, "p < 0.001")],
)
def test_p_values_follow_from_z(z: float, expected: str) -> None:
    text, p = p_text(z, STYLE)
    assert text == expected
    assert p == pytest.approx(2 * (1 - 0.5 * (1 + math.erf(z / math.sqrt(2)))), abs=1e-12)


@pytest.mark.parametrize("rising", [True, False])
def test_proportions_fit_the_deviate(rising: bool) -> None:
    """The two-proportion test on the written values gives back z, up to their rounding."""
    rng = random.Random(1)
    for _ in range(200):
        n, z = 10_000, rng.uniform(0.5, 4)
        found = compare(rng, "percent", rising, z, n, STYLE)
        first, second = (float(x) / 100 for x in re.findall(r"([\d.]+)%", found.values))
        error = math.sqrt(2 * second * (1 - second) / n)
        half_a_step = 0.5 if "." not in found.values else 0.05
        assert (first - second) / error == pytest.approx(
            z if rising else -z, abs=2.1 * half_a_step / 100 / error
        )


@pytest.mark.parametrize("kind", ["percent", "score", "days", "metres", "fold"])
@pytest.mark.parametrize("z", [0.4, 1.5, 2.5, 4.0])
def test_interval_leaves_out_no_effect_where_p_is_small(kind: str, z: float) -> None:
    rng = random.Random(2)
    null = 1 if kind == "percent" else 0
    for _ in range(50):
        found = compare(rng, kind, rng.random() < 0.5, z, 100, STYLE)
        low, high = (float(x) for x in re.findall(r"-?[\d.]+", found.effect.split("CI")[1]))
        assert low <= high
        assert (low <= null <= high) == (found.p_value > 0.05)


def test_p_values_fit_the_verdict() -> None:
    rng = random.Random(3)
    for _ in range(300):
        assert draw_finding(rng, "yes").p_value < 0.02
        no = draw_finding(rng, "no")
        assert no.p_value > 0.25 or no.mode == "reverse"
        maybe = draw_finding(rng, "maybe")
        if maybe.mode == "borderline":
            assert 0.05 < maybe.p_value < 0.1


def test_like_keeps_the_study() -> None:
    rng = random.Random(4)
    for _ in range(50):
        first = draw_finding(rng, "yes")
        second = draw_finding(rng, "no", like=first)
        assert (second.family, second.n, second.disease) == (first.family, first.n, first.disease)
        for slot in ("subject", "a", "b", "pop", "months", "group_1"):
            assert second.slots[slot] == first.slots[slot]


def test_sentences_are_clean() -> None:
    """No slot, bracket or doubled space is left; sentences start and end as they should."""
    rng = random.Random(5)
    seen = set()
    for number in range(1500):
        finding = draw_finding(rng, VERDICTS[number % 3])
        study = tell(rng, finding, short=number % 2 == 0, ask=number % 4 == 0)
        seen.add((finding.family, finding.verdict))
        assert study.question.endswith("?")
        for text in (study.question, study.title, *(s.text for s in study.sections)):
            assert not re.search(r"[{}|\[\]]|  | [.,;)]|\( |\.\.|None", text), text
            assert not re.match(r"[a-z]+ ", text), text
        for section in study.sections:
            assert section.text.endswith((".", "?"))
    assert seen == {(family, verdict) for family in FAMILIES for verdict in VERDICTS}
