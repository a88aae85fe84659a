"""PubMed citations before they are XML: which articles exist and which edge cases they show."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import date, timedelta

from data_preprocessing.sample import foreign, words
from data_preprocessing.sample.findings import VERDICTS, draw_finding
from data_preprocessing.sample.grammar import capitalise, sentence
from data_preprocessing.sample.pubmedqa import Question
from data_preprocessing.sample.studies import Section, Study, tell

VERDICT_SHARES = (0.5, 0.33, 0.17)  # of articles that no question is asked about
_MESH = {  # real check tags and descriptors, with their real identifiers
    "Humans": "D006801",
    "Female": "D005260",
    "Male": "D008297",
    "Adult": "D000328",
    "Aged": "D000368",
    "Middle Aged": "D008875",
    "Treatment Outcome": "D016896",
    "Prospective Studies": "D011446",
    "Retrospective Studies": "D012189",
    "Risk Factors": "D012307",
    "Follow-Up Studies": "D005500",
    "Cells, Cultured": "D002478",
}
_SHORT_TITLES = (
    "Reply to the authors.",
    "[Comment on|Letter to the editor:] {subject} in {disease}.",
    "{disease}: [an update|current practice|a case for caution].",
    "[Images|Lessons] in {specialty}: {disease}.",
    "The [year|decade] in {specialty}.",
    "[Book review:|Editorial:] {topic} and the [clinician|nurse|surgeon].",
    "{subject} [revisited|today|tomorrow].",
)
_CASE_REPORT = (
    "We [report|describe] a {age}-year-old [man|woman] with {disease} who [developed|presented "
    "with] problems of {topic} {months} months after [the first|] treatment with {subject}. "
    "[Laboratory tests|Imaging studies] were [normal|unremarkable]. The symptoms "
    "[resolved|improved] within {centres} weeks. Clinicians should be aware of this "
    "[rare|unusual] course.",
    "A {age}-year-old patient with {abbr} was referred because of {topic}. {subject} was "
    "[started|considered], and the patient [recovered|remained stable] during {months} months of "
    "follow-up. To our knowledge, this is the [first|second] such case.",
)
_REVIEW = (
    "{disease} ({abbr}) is a [complex|common] disorder with a [marked|moderate] influence on "
    "{topic}. This review [summarises|discusses] the [role|use] of {subject}, with emphasis on "
    "{other_topic}. We [outline|describe] open questions and [propose|suggest] a research agenda.",
    "The management of {disease} has changed in the past {centres} years. We review the evidence "
    "on {subject}, {rival} and {topic}, and discuss what it means for practice.",
)


@dataclass(frozen=True)
class Citation:
    """One version of one PubMed record, as text; `abstract` is empty for title-only entries."""

    title: str
    abstract: tuple[Section, ...]  # one section without a label if the abstract is plain
    year: int
    completed: date
    mesh: tuple[tuple[str, str], ...]
    pmid: int = 0
    version: int = 1
    language: str = "eng"
    vernacular: str = ""
    other_abstract: tuple[str, str, str] | None = None  # type, language, text
    copyright: str = ""
    types: tuple[str, ...] = ("Journal Article",)
    related: tuple[str, int] | None = None  # RefType and the other article's PMID
    revised: date | None = None
    pmcid: int | None = None
    study: Study | None = None  # None for reviews, case reports and title-only entries
    markup: str = ""  # "inline" or "mathml"
    cases: frozenset[str] = field(default_factory=frozenset)

    @property
    def structured(self) -> bool:
        return bool(self.abstract and self.abstract[0].label)


def _mesh(rng: random.Random, study: Study) -> tuple[tuple[str, str], ...]:
    disease = study.finding.disease
    identifier = f"D98{words.DISEASES.index(disease):04d}"
    drawn = sorted(rng.sample(sorted(_MESH.items()), rng.randint(3, 6)))
    return ((disease.name.capitalize(), identifier), *drawn)


def _plain(sections: tuple[Section, ...]) -> tuple[Section, ...]:
    return (Section("", " ".join(section.text for section in sections)),)


def _from_study(rng: random.Random, study: Study, structured: float) -> Citation:
    year = rng.randint(1998, 2023)
    title = study.title if study.title.endswith("?") else study.title.rstrip(".") + "."
    abstract = study.sections if rng.random() < structured else _plain(study.sections)
    completed = date(year, 1, 1) + timedelta(days=rng.randint(0, 364))
    return Citation(title, abstract, year, completed, _mesh(rng, study), study=study)


def question_article(rng: random.Random, question: Question) -> Citation:
    """The article of a question; the question keeps its year and headings."""
    citation = _from_study(rng, question.study, 0.75)
    question.year, question.mesh = citation.year, tuple(name for name, _ in citation.mesh)
    return citation


def ordinary_article(rng: random.Random) -> Citation:
    """A study, or sometimes a review or a case report."""
    finding = draw_finding(rng, rng.choices(VERDICTS, VERDICT_SHARES)[0])
    study = tell(rng, finding, short=False, ask=rng.random() < 0.15)
    citation = _from_study(rng, study, 0.75)
    if rng.random() < 0.1:
        kind, templates = rng.choice((("Review", _REVIEW), ("Case Reports", _CASE_REPORT)))
        text = sentence(templates, finding.slots, rng)
        types = ("Journal Article", kind)
        citation = replace(citation, abstract=(Section("", text),), types=types, study=None)
    if rng.random() < 0.1:
        citation = replace(citation, copyright=f"© {citation.year} The Invented Society.")
    return citation


def title_only(rng: random.Random) -> Citation:
    """An editorial, letter or comment: no abstract."""
    finding = draw_finding(rng, "yes")
    slots = finding.slots | {"specialty": finding.disease.specialty.lower()}
    title = capitalise(sentence(_SHORT_TITLES, slots, rng))
    study = tell(rng, finding, short=True, ask=False)
    kind = rng.choice(("Editorial", "Letter", "Comment", "News"))
    return replace(_from_study(rng, study, 1), title=title, abstract=(), types=(kind,), study=None)


def _translated(rng: random.Random, base: Citation) -> Citation:
    language, _, vernacular = foreign.words_for(rng)
    title = f"[{base.title.rstrip('.')}]." if not base.title.endswith("?") else f"[{base.title}]"
    abstract = base.abstract if rng.random() < 0.6 else ()
    return replace(base, title=title, language=language, vernacular=vernacular, abstract=abstract)


def _other_abstract(rng: random.Random, base: Citation) -> Citation:
    language, text, vernacular = foreign.words_for(rng)
    other = ("Publisher", language, text)
    return replace(base, other_abstract=other, language=language, vernacular=vernacular)


def _other_abstract_only(rng: random.Random, base: Citation) -> Citation:
    return replace(_other_abstract(rng, base), abstract=())


def _plain_language(rng: random.Random, base: Citation) -> Citation:
    text = "This study asked a simple question about care. The answer is explained for everyone."
    return replace(base, other_abstract=("plain-language-summary", "eng", text))


def _truncated(rng: random.Random, base: Citation) -> Citation:
    kept = _plain(base.abstract)[0].text.split()[: rng.randint(60, 90)]
    text = f"{' '.join(kept)} (ABSTRACT TRUNCATED AT 250 WORDS)"
    return replace(base, abstract=(Section("", text),), year=rng.randint(1985, 1995))


def _inline(rng: random.Random, base: Citation) -> Citation:
    extra = f" The mean body mass index was {rng.uniform(22, 31):.1f} kg/m2."
    first, *rest = base.abstract
    return replace(base, abstract=(replace(first, text=first.text + extra), *rest), markup="inline")


def _mathml(rng: random.Random, base: Citation) -> Citation:
    extra = f" The regression coefficient was β={rng.uniform(0.1, 0.9):.2f} per unit."
    *rest, last = base.abstract
    return replace(base, abstract=(*rest, replace(last, text=last.text + extra)), markup="mathml")


def _unlabelled(rng: random.Random, base: Citation) -> Citation:
    first, *rest = base.abstract
    return replace(base, abstract=(replace(first, label="UNLABELLED"), *rest))


def _retracted(rng: random.Random, base: Citation) -> Citation:
    return replace(base, types=(*base.types, "Retracted Publication"))


def _retraction_notice(rng: random.Random, base: Citation) -> Citation:
    title = f"Retraction: {base.title}"
    return replace(base, title=title, abstract=(), types=("Retraction of Publication",))


def _empty_title(rng: random.Random, base: Citation) -> Citation:
    return replace(base, title="")


def _empty(rng: random.Random, base: Citation) -> Citation:
    return replace(base, title="", abstract=())


def _not_available(rng: random.Random, base: Citation) -> Citation:
    language, _, vernacular = foreign.words_for(rng)
    return replace(
        base, title="[Not Available].", abstract=(), language=language, vernacular=vernacular
    )


CASES: dict[str, tuple[float, Callable[[random.Random, Citation], Citation]]] = {
    "translated": (0.025, _translated),
    "other_abstract": (0.012, _other_abstract),
    "other_abstract_only": (0.002, _other_abstract_only),
    "plain_language_summary": (0.002, _plain_language),
    "truncated": (0.012, _truncated),
    "inline_markup": (0.06, _inline),
    "mathml": (0.002, _mathml),
    "unlabelled": (0.004, _unlabelled),
    "retracted": (0.004, _retracted),
    "retraction_notice": (0.003, _retraction_notice),
    "empty_title": (0.003, _empty_title),
    "empty": (0.001, _empty),
    "not_available": (0.001, _not_available),
}


def draw_citations(rng: random.Random, count: int) -> list[Citation]:
    """Articles no question is asked about: ordinary ones, title-only ones, every edge case."""
    drawn = []
    for name, (share, change) in CASES.items():
        for _ in range(max(1, round(share * count))):
            changed = change(rng, ordinary_article(rng))
            drawn.append(replace(changed, cases=frozenset({name})))
    drawn += [title_only(rng) for _ in range(round(0.13 * count))]
    drawn += [ordinary_article(rng) for _ in range(count - len(drawn))]
    return drawn
