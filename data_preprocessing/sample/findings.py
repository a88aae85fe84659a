"""The generated science: hidden findings whose verdict decides all that is written of them."""

import random
from dataclasses import dataclass
from typing import Literal

from data_preprocessing.sample import words
from data_preprocessing.sample.numbers import accuracy, compare, draw_style, margins, p_text

Verdict = Literal["yes", "no", "maybe"]
VERDICTS: tuple[Verdict, ...] = ("yes", "no", "maybe")


@dataclass(frozen=True)
class Family:
    """A kind of question. In `subjects` and `groups`, {x} is a name from `names`."""

    share: float
    names: tuple[str, ...]
    subjects: tuple[str, ...]
    groups: tuple[tuple[str, str], ...]
    rivals: tuple[str, ...]
    verb: str | None  # None: to bring the outcome to its better side
    harmful: bool = False  # the claim is a change for the worse


_DRUG_GROUPS = (
    ("the {x} group", "the {rival} group"),
    ("patients given {x}", "those given {rival}"),
)
FAMILIES: dict[str, Family] = {
    "treatment": Family(
        0.30,
        words.DRUGS[4:],
        ("{x}",),
        _DRUG_GROUPS,
        ("placebo", "placebo", "placebo", *words.DRUGS[:4]),
        None,
    ),
    "intervention": Family(
        0.16,
        words.INTERVENTIONS,
        ("{x}",),
        (
            ("the intervention group", "the control group"),
            ("the intervention arm", "the {rival} arm"),
        ),
        ("usual care", "standard care"),
        None,
    ),
    "marker": Family(
        0.16,
        words.MARKERS,
        ("serum {x}", "plasma {x}", "baseline {x}", "{x} expression"),
        (("patients with high {x}", "those with low {x}"),),
        ("clinical scores",),
        "predict",
        harmful=True,
    ),
    "variant": Family(
        0.08,
        words.GENES,
        ("the {x} variant", "the {x} polymorphism"),
        (("carriers", "non-carriers"),),
        ("other variants",),
        "influence",
        harmful=True,
    ),
    "exposure": Family(
        0.12,
        words.EXPOSURES,
        ("{x}",),
        (
            ("exposed participants", "unexposed participants"),
            ("those with {x}", "those without {x}"),
        ),
        ("other risk factors",),
        "affect",
        harmful=True,
    ),
    "cells": Family(
        0.08,
        words.GENES,
        ("{x}",),
        (("{x}-silenced cells", "control cells"),),
        ("related genes",),
        "promote",
    ),
    "diagnostic": Family(
        0.05,
        words.TESTS,
        ("{x}",),
        (("patients with the disease", "those without"),),
        ("biopsy", "surgery"),
        "detect",
    ),
    "equivalence": Family(0.05, words.DRUGS[4:], ("{x}",), _DRUG_GROUPS, words.DRUGS[:4], None),
}
MODES: dict[Verdict, dict[str, float]] = {  # how the data lead to the verdict
    "yes": {"plain": 0.9, "adjusted": 0.1},
    "no": {"null": 0.95, "reverse": 0.05},
    "maybe": {"borderline": 0.35, "subgroup": 0.3, "adjusted": 0.2, "small": 0.15},
}
_Z_RANGES = {  # |z| of the main comparison, and of the second one where there are two
    ("yes", "plain"): ((2.4, 5.0), (2.2, 4.0)),
    ("yes", "adjusted"): ((2.4, 5.0), (2.2, 4.0)),
    ("no", "null"): ((0.05, 1.1), (0.05, 1.0)),
    ("no", "reverse"): ((2.3, 3.6), (2.1, 3.0)),
    ("maybe", "borderline"): ((1.66, 1.9), (1.2, 1.8)),
    ("maybe", "subgroup"): ((2.1, 3.2), (0.1, 1.0)),
    ("maybe", "adjusted"): ((2.2, 3.2), (0.9, 1.7)),
    ("maybe", "small"): ((0.9, 1.8), (0.6, 1.6)),
}
_OPPOSITE = {"lower": "higher", "higher": "lower", "shorter": "longer", "longer": "shorter"}
_STUDY_SLOTS = (  # what belongs to the study and not to one of its outcomes
    *("subject", "a", "b", "rival", "people", "age", "cells", "units", "pop", "group_1"),
    *("group_2", "start", "end", "planned", "months", "centres"),
)


@dataclass(frozen=True)
class Finding:
    """One invented result: `slots` hold every word and number the templates may use."""

    family: str
    verdict: Verdict
    mode: str
    n: int
    effect: str
    p_value: float
    disease: words.Disease
    slots: dict[str, str]


def draw_finding(
    rng: random.Random,
    verdict: Verdict,
    *,
    disease: words.Disease | None = None,
    like: Finding | None = None,
) -> Finding:
    """Draw a finding with this verdict; `like` keeps the study and asks about another outcome."""
    if like:
        name, disease = like.family, like.disease
    else:
        name = rng.choices(list(FAMILIES), [f.share for f in FAMILIES.values()])[0]
        disease = disease or rng.choice(words.DISEASES)
    family = FAMILIES[name]
    outcome, other = rng.sample(words.PROCESSES if name == "cells" else words.OUTCOMES, 2)
    mode = rng.choices(list(MODES[verdict]), list(MODES[verdict].values()))[0]
    if mode == "reverse" and family.verb:  # only "reduce" and the like have a direction
        mode = "null"
    n = like.n // 2 if like else _group_size(rng, outcome.kind, mode)
    rising = (outcome.better == "higher") != family.harmful
    up = rising != (mode == "reverse")
    style = draw_style(rng, outcome.kind)
    main, second = (
        compare(rng, outcome.kind, up, rng.uniform(*z_range), n, style)
        for z_range in _Z_RANGES[verdict, mode]
    )
    slots = (
        _study_slots(rng, name, disease, n)
        | _outcome_slots(outcome, other, rising)
        | _verb_forms(family.verb or _improving(outcome))
        | accuracy(rng, verdict)
        | margins(rng, verdict)
        | {
            "stats": main.brackets(rng),
            "values": main.values,
            "p": main.p,
            "stats_2": second.brackets(rng),
            "effect_2": second.effect,
            "p_2": second.p,
            "noise_p": p_text(rng.uniform(0.1, 1.2), style)[0],
            "strong_p": p_text(rng.uniform(2.5, 4.0), style)[0],
        }
    )
    if name == "diagnostic":
        slots["topic"] = disease.name
    if like:
        slots |= {key: like.slots[key] for key in _STUDY_SLOTS}
    return Finding(name, verdict, mode, 2 * n, main.effect, main.p_value, disease, slots)


def _group_size(rng: random.Random, kind: str, mode: str) -> int:
    if kind == "fold":
        return rng.randint(4, 6) if mode == "small" else rng.randint(8, 16)
    return rng.randint(9, 19) if mode == "small" else rng.randint(40, 260)


def _improving(outcome: words.Outcome) -> str:
    if outcome.kind == "days":
        return "shorten"
    return "reduce" if outcome.better == "lower" else "improve"


def _verb_forms(verb: str) -> dict[str, str]:
    """Forms of a regular verb."""
    stem = verb.removesuffix("e")
    return {"claim": verb, "claims": f"{verb}s", "claimed": f"{stem}ed", "claiming": f"{stem}ing"}


def _outcome_slots(outcome: words.Outcome, other: words.Outcome, rising: bool) -> dict[str, str]:
    in_time = outcome.kind in ("days", "metres")
    pair = ("shorter", "longer") if in_time else ("lower", "higher")
    article = "" if outcome.kind == "fold" else "the "
    return {
        "outcome": outcome.name,
        "topic": outcome.topic,
        "the_outcome": article + outcome.name,
        "the_other_outcome": article + other.name,
        "other_topic": other.topic,
        "more": pair[rising],
        "less": _OPPOSITE[pair[rising]],
    }


def _study_slots(rng: random.Random, name: str, disease: words.Disease, n: int) -> dict[str, str]:
    """What was studied, in whom or in what, and how long."""
    family = FAMILIES[name]
    x, rival = rng.choice(family.names), rng.choice(family.rivals)
    people, cells = rng.choice(words.POPULATIONS), rng.choice(words.CELLS)
    pop = f"{people} with {disease.name}"
    subgroups: tuple[tuple[str, str], ...] = words.ADULT_SUBGROUPS
    if name == "cells":
        pop, subgroups = cells, words.CELL_SUBGROUPS
    elif name == "diagnostic":
        pop = f"{people} with suspected illness"
    if name != "cells" and people in ("women", "children"):
        subgroups = words.SUBGROUPS
    group_1, group_2 = rng.choice(subgroups)
    first, second = rng.choice(family.groups)
    start = rng.randint(1996, 2012)
    return {
        "subject": rng.choice(family.subjects).format(x=x),
        "rival": rival,
        "a": first.format(x=x, rival=rival),
        "b": second.format(x=x, rival=rival),
        "people": people,
        "age": str(rng.randint(6, 15) if people == "children" else rng.randint(28, 74)),
        "cells": cells,
        "units": "experiments" if name == "cells" else people,
        "pop": pop,
        "disease": disease.name,
        "abbr": disease.abbreviation,
        "group_1": group_1,
        "group_2": group_2,
        "city": rng.choice(words.CITIES),
        "start": str(start),
        "end": str(start + rng.randint(3, 9)),
        "n": str(2 * n),
        "planned": str(rng.randint(6, 12) * 2 * n),
        "months": str(rng.choice((3, 6, 12, 18, 24, 36))),
        "percent": str(rng.randint(41, 68)),
        "centres": str(rng.randint(2, 14)),
    }
