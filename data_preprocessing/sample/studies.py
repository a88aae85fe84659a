"""Studies: a finding told as question, title and abstract sections."""

import random
from dataclasses import dataclass

from data_preprocessing.sample import wording_design, wording_findings
from data_preprocessing.sample.findings import VERDICTS, Finding, draw_finding
from data_preprocessing.sample.grammar import capitalise, expand, sentence

_LABELS = (  # the four headings of a structured abstract, as journals write them
    ("BACKGROUND", "METHODS", "RESULTS", "CONCLUSIONS"),
    ("BACKGROUND", "METHODS", "RESULTS", "CONCLUSION"),
    ("OBJECTIVE", "METHODS", "RESULTS", "CONCLUSIONS"),
    ("OBJECTIVES", "METHODS", "RESULTS", "CONCLUSIONS"),
    ("PURPOSE", "MATERIALS AND METHODS", "RESULTS", "CONCLUSION"),
    ("AIMS", "PATIENTS AND METHODS", "RESULTS", "CONCLUSIONS"),
)
_CELL_LABELS = _LABELS[:4]
CATEGORIES = {  # label -> NlmCategory
    "BACKGROUND": "BACKGROUND",
    "OBJECTIVE": "OBJECTIVE",
    "OBJECTIVES": "OBJECTIVE",
    "PURPOSE": "OBJECTIVE",
    "AIMS": "OBJECTIVE",
    "METHODS": "METHODS",
    "MATERIALS AND METHODS": "METHODS",
    "PATIENTS AND METHODS": "METHODS",
    "RESULTS": "RESULTS",
    "CONCLUSION": "CONCLUSIONS",
    "CONCLUSIONS": "CONCLUSIONS",
}
_OWN_RESULTS = {  # families whose results are not a comparison of two groups
    "diagnostic": wording_findings.DIAGNOSTIC_RESULT,
    "equivalence": wording_findings.EQUIVALENCE_RESULT,
}


@dataclass(frozen=True)
class Section:
    label: str
    text: str


@dataclass(frozen=True)
class Study:
    """A finding and its four sections; the last one is the conclusion."""

    finding: Finding
    question: str
    title: str
    sections: tuple[Section, ...]

    @property
    def conclusion(self) -> str:
        return self.sections[-1].text


def main_result(rng: random.Random, finding: Finding) -> str:
    """The sentence that answers the question."""
    own = _OWN_RESULTS.get(finding.family)
    shared = wording_findings.MAIN_RESULT[finding.verdict, finding.mode]
    templates = own[finding.verdict] if own else shared
    return sentence(templates, finding.slots, rng)


def conclusion(rng: random.Random, finding: Finding) -> str:
    templates = wording_findings.FAMILY_CONCLUSIONS.get((finding.family, finding.verdict))
    return sentence(templates or wording_findings.CONCLUSIONS[finding.verdict], finding.slots, rng)


def question(rng: random.Random, finding: Finding) -> str:
    return sentence(wording_design.QUESTIONS[finding.family], finding.slots, rng)


def background(rng: random.Random, finding: Finding, count: int) -> list[str]:
    own = {
        "cells": wording_design.CELL_BACKGROUND,
        "diagnostic": wording_design.DIAGNOSTIC_BACKGROUND,
    }
    templates = own.get(finding.family, wording_design.BACKGROUND)
    drawn = rng.sample(templates, min(count, len(templates)))
    return [capitalise(expand(template, finding.slots, rng)) for template in drawn]


def methods(rng: random.Random, finding: Finding, extra: int) -> list[str]:
    cells = finding.family == "cells"
    templates = wording_design.CELL_METHODS if cells else wording_design.MORE_METHODS
    return [
        sentence(wording_design.METHODS[finding.family], finding.slots, rng),
        *(capitalise(expand(t, finding.slots, rng)) for t in rng.sample(templates, extra)),
    ]


def results(rng: random.Random, finding: Finding, support: float, neutral: float) -> list[str]:
    """The answer, followed with these probabilities by agreement and by an unrelated sentence."""
    told = [main_result(rng, finding)]
    if rng.random() < support and finding.family not in _OWN_RESULTS:
        told.append(sentence(wording_findings.SUPPORT[finding.verdict], finding.slots, rng))
    if rng.random() < neutral:
        cells = finding.family == "cells"
        templates = wording_findings.CELL_NEUTRAL if cells else wording_findings.NEUTRAL_RESULT
        told.insert(rng.choice((0, len(told))), sentence(templates, finding.slots, rng))
    return told


def title(rng: random.Random, finding: Finding) -> str:
    """A title that is not a question; one in three gives the verdict away, as real ones do."""
    if finding.family == "diagnostic":
        templates = wording_design.DIAGNOSTIC_TITLES
    elif finding.family != "equivalence" and rng.random() < 0.33:
        templates = wording_design.VERDICT_TITLES[finding.verdict]
    else:
        templates = wording_design.TITLES
    return sentence(templates, finding.slots, rng)


def tell(rng: random.Random, finding: Finding, *, short: bool, ask: bool) -> Study:
    """Write a study; `short` keeps it within a small window, `ask` makes the question its title."""
    labels = rng.choice(_CELL_LABELS if finding.family == "cells" else _LABELS)
    if labels[0] == "BACKGROUND":
        opening = background(rng, finding, 1 if short else rng.randint(1, 3))
        if not short or rng.random() < 0.7:
            opening.append(sentence(wording_design.OBJECTIVE, finding.slots, rng))
    else:
        opening = [sentence(wording_design.OBJECTIVE, finding.slots, rng)]
        if not short:
            opening = background(rng, finding, rng.randint(0, 1)) + opening
        elif rng.random() < 0.5:
            opening = background(rng, finding, 1) + opening
    how = methods(rng, finding, rng.randint(1, 2) if short else rng.randint(1, 3))
    found = results(rng, finding, 0.6, 0.4)
    closing = [conclusion(rng, finding)]
    if not short and finding.family not in _OWN_RESULTS:
        for _ in range(rng.randint(1, 2)):
            second = draw_finding(rng, rng.choice(VERDICTS), like=finding)
            found.append(main_result(rng, second))
            closing.append(conclusion(rng, second))
    asked = question(rng, finding)
    parts = (opening, how, found, closing)
    return Study(
        finding,
        asked,
        asked if ask else title(rng, finding),
        tuple(Section(label, " ".join(part)) for label, part in zip(labels, parts, strict=True)),
    )
