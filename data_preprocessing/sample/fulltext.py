"""The prose of a full-text article: paragraphs that tell one study at length.

Paragraphs are plain text in which "[[7]]" stands for a citation of reference 7.
"""

import random

from data_preprocessing.sample.findings import VERDICTS, Finding, draw_finding
from data_preprocessing.sample.grammar import capitalise, expand, sentence
from data_preprocessing.sample.studies import (
    Study,
    background,
    conclusion,
    main_result,
    methods,
    results,
)

REFERENCES = 24
_PRIOR: dict[str, tuple[str, ...]] = {
    "yes": (
        "A previous study from {city} [reported|showed] that {subject} {claims} {topic} in {pop}"
        "{ref}.",
        "[Other authors|Several groups] found that {subject} {claimed} {topic} ({p}){ref}.",
        "In {n} {units}, {subject} {claimed} {topic}{ref}.",
    ),
    "no": (
        "A previous study from {city} found no [effect|influence] of {subject} on {topic}{ref}.",
        "By contrast, {subject} did not {claim} {topic} in an earlier [cohort|trial] of {n} {units}"
        "{ref}.",
        "[Other authors|Two groups] did not confirm that {subject} {claims} {topic} ({p}){ref}.",
    ),
    "maybe": (
        "Earlier work on {subject} and {topic} was inconclusive{ref}.",
        "It is uncertain whether {subject} {claims} {topic} in {pop}{ref}.",
        "{subject} {claimed} {topic} in {group_1} but not in {group_2}{ref}.",
    ),
}
_DETAILS = (
    "Ethical approval was [obtained|granted], and all participants gave written consent.",
    "The protocol was registered before the first inclusion{ref}.",
    "Patients were excluded if they were pregnant, had renal failure or declined to take part.",
    "Data were collected by trained [nurses|staff] using a standard form.",
    "Blood samples were drawn after an overnight fast and stored at −80 °C.",
    "Allocation was concealed with sealed, opaque envelopes.",
    "{the_outcome} was assessed at baseline and at {months} months.",
    "Disease severity was graded according to published criteria{ref}.",
    "All assays were run in duplicate, with a coefficient of variation below 8%.",
    "RNA was extracted with a commercial kit, and cDNA was amplified for 40 cycles.",
)
_STATISTICS = (
    "Continuous variables are given as mean ± SD and were compared with Student's t test.",
    "Categorical variables were compared with the chi-square test or Fisher's exact test.",
    "A two-sided p value < 0.05 was considered significant.",
    "The sample size gave 80% power to detect a [moderate|clinically relevant] difference.",
    "Odds ratios (ORs) are reported with 95% confidence intervals (CIs).",
    "Models were adjusted for age, sex and severity of {disease}.",
    "Analyses were performed with R, and missing values were imputed{ref}.",
)
_DESCRIPTION = (
    "A total of {n} {units} were included, and {percent}% completed the study.",
    "Baseline characteristics are shown in Table 1 and were well balanced.",
    "The median follow-up was {months} months.",
    "The mean age was {age} years, and {percent}% had a previous episode.",
    "Reasons for withdrawal were [refusal|relocation] and loss to follow-up.",
)
_LIMITS = (
    "This study has [several|some] limitations.",
    "First, the sample was drawn from {centres} centres and may not represent all {units}.",
    "Second, follow-up was limited to {months} months.",
    "Residual confounding cannot be excluded{ref}.",
    "The measurement of {topic} relied on [routine records|self-report].",
    "We did not correct for multiple comparisons in the secondary analyses.",
    "On the other hand, the prospective design and complete data are strengths.",
)
_OUTLOOK = (
    "Future studies should [examine|clarify] the mechanism behind these findings.",
    "These results have implications for the care of {pop}.",
    "Whether the same holds in other populations remains to be seen.",
    "Our findings should be interpreted in the light of [local practice|earlier work]{ref}.",
)


class Writer:
    """Writes the paragraphs of one study; every call draws new wording from the same findings."""

    def __init__(self, rng: random.Random, study: Study) -> None:
        self.rng = rng
        self.study = study
        self.main = study.finding
        self.others = [
            draw_finding(rng, rng.choice(VERDICTS), like=self.main)
            for _ in range(rng.randint(12, 18))
        ]

    def _lines(self, templates: tuple[str, ...], count: int) -> list[str]:
        drawn = self.rng.sample(templates, min(count, len(templates)))
        return [self._line(template, self.main) for template in drawn]

    def _line(self, template: str, finding: Finding) -> str:
        slots = finding.slots | {"ref": f" [[{self.rng.randint(1, REFERENCES)}]]"}
        return capitalise(expand(template, slots, self.rng))

    def _prior(self, count: int) -> list[str]:
        """Sentences on other, equally invented studies of the same disease or subject."""
        told = []
        for _ in range(count):
            verdict = self.rng.choice(VERDICTS)
            own = self.rng.random() < 0.5
            like = self.main if own else None
            finding = draw_finding(self.rng, verdict, disease=self.main.disease, like=like)
            told.append(self._line(self.rng.choice(_PRIOR[verdict]), finding))
        return told

    def introduction(self) -> list[str]:
        first = background(self.rng, self.main, 3) + self._prior(2)
        middle = self._prior(self.rng.randint(5, 8))
        last = [*self._prior(1), f"We therefore asked: {self.study.question}"]
        return [" ".join(lines) for lines in (first, middle, last)]

    def methods(self) -> dict[str, list[str]]:
        return {
            "Study design": [" ".join(methods(self.rng, self.main, 2) + self._lines(_DETAILS, 3))],
            "Measurements": [" ".join(self._lines(_DETAILS, 4)) for _ in range(2)],
            "Statistical analysis": [" ".join(self._lines(_STATISTICS, 5))],
        }

    def results(self) -> dict[str, list[str]]:
        primary = results(self.rng, self.main, 1.0, 0.5)
        primary += [main_result(self.rng, self.main)]
        secondary = [
            " ".join([*results(self.rng, finding, 0.8, 0.3), conclusion(self.rng, finding)])
            for finding in self.others
        ]
        return {
            "Participants": [" ".join(self._lines(_DESCRIPTION, 4))],
            "Main outcome": [" ".join(primary)],
            "Secondary outcomes": secondary,
        }

    def discussion(self) -> list[str]:
        opening = [conclusion(self.rng, self.main), main_result(self.rng, self.main)]
        paragraphs = [opening + self._prior(3)]
        paragraphs += [
            [conclusion(self.rng, finding), *self._prior(self.rng.randint(3, 5))]
            for finding in self.others[:9]
        ]
        paragraphs += [self._lines(_LIMITS, 6), self._lines(_OUTLOOK, 3)]
        return [" ".join(lines) for lines in paragraphs]

    def conclusions(self) -> list[str]:
        return [" ".join([conclusion(self.rng, self.main), *self._lines(_OUTLOOK, 1)])]

    def remark(self) -> str:
        """A few sentences that fit anywhere: boxes, letters, appendices."""
        finding = self.rng.choice(self.others)
        return " ".join([main_result(self.rng, finding), *self._prior(1)])

    def item(self) -> str:
        """One list item or definition."""
        return self._lines(_DETAILS + _STATISTICS, 1)[0]

    def caption(self) -> str:
        return sentence(
            (
                "{the_outcome} in {a} and {b}.",
                "{topic} by group ([mean ± SD|median, range]).",
                "Flow of {units} through the study.",
            ),
            self.main.slots,
            self.rng,
        )
