"""The PubMed folder: baseline files, an update file, and what a correct reader finds in them."""

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from data_preprocessing.sample.citations import Citation, draw_citations, ordinary_article
from data_preprocessing.sample.pubmed import pubmed_xml
from data_preprocessing.sample.studies import Section, tell

OLD = "medline10n0001.xml"  # sorts before the others, as its age demands
BASELINE = ("pubmed25n0001.xml.gz", "pubmed25n0002.xml.gz", "pubmed25n0003.xml.gz")
UPDATE = "pubmed25n0004.xml.gz"
FIRST_PMID = 90_000_001  # far above every PMID given out so far
UNKNOWN_PMIDS = (89_999_001, 89_999_002)  # deleted although no file has them


@dataclass
class PubMedFile:
    """What one file holds, in order."""

    name: str
    citations: list[Citation] = field(default_factory=list)
    books: list[Citation] = field(default_factory=list)
    deleted: list[int] = field(default_factory=list)

    def xml(self, rng: random.Random) -> bytes:
        old = self.name == OLD
        return pubmed_xml(
            rng,
            self.citations,
            books=self.books,
            deleted=self.deleted,
            root="MedlineCitationSet" if old else "PubmedArticleSet",
            indent=None if old else 2,
            encoding="ascii" if self.name == BASELINE[2] else "utf-8",
        )


def _number(rng: random.Random, citations: Iterable[Citation]) -> list[Citation]:
    """Give ascending PMIDs with gaps."""
    pmid, numbered = FIRST_PMID, []
    for citation in citations:
        numbered.append(replace(citation, pmid=pmid))
        pmid += rng.randint(1, 8)
    return numbered


def _link_retractions(citations: list[Citation]) -> list[Citation]:
    retracted = [c.pmid for c in citations if "retracted" in c.cases]
    notices = [c.pmid for c in citations if "retraction_notice" in c.cases]
    related: dict[int, tuple[str, int]] = {}
    for index, pmid in enumerate(retracted):
        related[pmid] = ("RetractionIn", notices[index % len(notices)])
    for index, pmid in enumerate(notices):
        related[pmid] = ("RetractionOf", retracted[index % len(retracted)])
    return [replace(c, related=related.get(c.pmid)) for c in citations]


def _revise(rng: random.Random, citation: Citation, how: str) -> Citation:
    """A later version of a citation: other text, newer date, sometimes a higher version."""
    revised = citation.completed + timedelta(days=rng.randint(400, 900))
    changed = replace(citation, revised=revised, cases=frozenset({f"revised_{how}"}))
    if how == "abstract":
        *rest, last = citation.abstract
        text = f"{last.text} This abstract was corrected after publication."
        return replace(changed, abstract=(*rest, Section(last.label, text)))
    if how == "version" and citation.study:
        again = tell(rng, citation.study.finding, short=False, ask=False)
        return replace(changed, abstract=again.sections, version=2)
    if how == "added":
        fresh = ordinary_article(rng)
        return replace(changed, title=fresh.title, abstract=fresh.abstract)
    if how == "removed":
        return replace(changed, abstract=())
    return replace(changed, types=(*citation.types, "Retracted Publication"))


def _update(
    rng: random.Random, earlier: list[Citation], new: list[Citation], count: int
) -> PubMedFile:
    """Revisions of earlier citations, new ones, and deletions; only plain cases are touched."""
    usual = rng.sample([c for c in earlier if not c.cases and c.study], 2 * count)
    bare = rng.choice([c for c in earlier if not c.cases and not c.abstract])
    revised = [_revise(rng, bare, "added")]
    for index, citation in enumerate(usual[:count]):
        how = ("abstract", "abstract", "version", "retraction", "removed")
        revised.append(_revise(rng, citation, how[index] if index < 5 else "abstract"))
    gone = [c.pmid for c in usual[count : count + max(2, count // 3)]]
    citations = sorted(revised, key=lambda c: c.pmid) + new
    return PubMedFile(UPDATE, citations, [], [*sorted(gone), *UNKNOWN_PMIDS])


def lay_out(
    rng: random.Random, asked: Sequence[Citation], count: int
) -> tuple[list[PubMedFile], list[Citation]]:
    """Spread the questions' articles and others, `count` in all, over the files in reading order.

    Returns the files and the articles of `asked` with their PMIDs, in the order given.
    """
    others = draw_citations(rng, count - len(asked))
    places: list[tuple[int, Citation]] = [(-1, c) for c in others] + list(enumerate(asked))
    rng.shuffle(places)
    numbered = _link_retractions(_number(rng, (c for _, c in places)))
    of_question = {place: c for (place, _), c in zip(places, numbered, strict=True) if place >= 0}
    old_size, new_size = max(6, count // 30), max(6, count // 30)
    old, middle, new = (
        numbered[:old_size],
        numbered[old_size:-new_size],
        numbered[-new_size:],
    )
    third = -(-len(middle) // 3)
    files = [PubMedFile(OLD, old)]
    files += [
        PubMedFile(name, middle[i * third : (i + 1) * third]) for i, name in enumerate(BASELINE)
    ]
    taken = {c.pmid for c in of_question.values()}
    touchable = [c for c in old + middle if c.pmid not in taken]
    files.append(_update(rng, touchable, new, max(5, count // 60)))
    _repeat(rng, files, taken)
    _add_books(rng, files)
    return files, [of_question[index] for index in range(len(asked))]


def _repeat(rng: random.Random, files: list[PubMedFile], taken: set[int]) -> None:
    """Let one file hold two versions of two PMIDs, and another the same citation twice."""
    touched = taken | {c.pmid for c in files[-1].citations} | set(files[-1].deleted)
    second, third = files[2].citations, files[3].citations
    for citation in rng.sample(
        [c for c in second if c.pmid not in touched and not c.cases and c.study], 2
    ):
        later = replace(_revise(rng, citation, "version"), cases=frozenset({"second_version"}))
        second.insert(second.index(citation) + 1, later)
    again = rng.choice([c for c in third if c.pmid not in touched and not c.cases and c.abstract])
    third.append(replace(again, cases=frozenset({"repeated"})))


def _add_books(rng: random.Random, files: list[PubMedFile]) -> None:
    last = max(c.pmid for f in files for c in f.citations)
    files[3].books = [replace(ordinary_article(rng), pmid=last + 100 + i) for i in range(2)]


def link_full_text(
    rng: random.Random, files: list[PubMedFile], avoid: set[int], pmcids: Sequence[int]
) -> list[Citation]:
    """Give some ordinary studies of the baseline a PMCID and return them, in the order of `pmcids`.

    Citations in `avoid`, and those that another citation or a deletion refers to, are left alone.
    """
    mentions = Counter(c.pmid for f in files for c in f.citations)
    mentions.update(pmid for f in files for pmid in f.deleted)
    free = [
        (held, place)
        for held in files[1:-1]
        for place, c in enumerate(held.citations)
        if c.study and c.abstract and not c.cases and c.pmid not in avoid and mentions[c.pmid] == 1
    ]
    linked = []
    for (held, place), pmcid in zip(rng.sample(free, len(pmcids)), pmcids, strict=True):
        held.citations[place] = replace(held.citations[place], pmcid=pmcid)
        linked.append(held.citations[place])
    return linked


def _count(citations: Sequence[Citation]) -> dict[str, int]:
    """Counts over citations; the categories are those of the keys, and may overlap."""
    return {
        "citations": len(citations),
        "with_abstract": sum(bool(c.abstract) for c in citations),
        "title_only": sum(bool(c.title) and not c.abstract for c in citations),
        "empty_title": sum(not c.title and bool(c.abstract) for c in citations),
        "empty": sum(not c.title and not c.abstract for c in citations),
        "structured": sum(c.structured for c in citations),
        "plain": sum(bool(c.abstract) and not c.structured for c in citations),
        "not_english": sum(c.language != "eng" for c in citations),
        "translated_title": sum(c.title.startswith("[") for c in citations),
        "vernacular_title": sum(bool(c.vernacular) for c in citations),
        "other_abstract": sum(c.other_abstract is not None for c in citations),
        "copyright": sum(bool(c.copyright and c.abstract) for c in citations),
        "truncated": sum("truncated" in c.cases for c in citations),
        "inline_markup": sum(c.markup == "inline" for c in citations),
        "mathml": sum(c.markup == "mathml" for c in citations),
        "retracted": sum("Retracted Publication" in c.types for c in citations),
        "retraction_notices": sum("Retraction of Publication" in c.types for c in citations),
        "with_pmcid": sum(c.pmcid is not None for c in citations),
    }


def expected(files: Sequence[PubMedFile]) -> dict[str, object]:
    """What a correct reader finds: counts per file, and what is left after reading in order."""
    by_file: dict[str, dict[str, int]] = {}
    live: dict[int, Citation] = {}
    for held in files:
        repeats = Counter(c.pmid for c in held.citations)
        by_file[held.name] = _count(held.citations) | {
            "book_articles": len(held.books),
            "duplicates": sum(n - 1 for n in repeats.values()),
            "revised": sum(pmid in live for pmid in repeats),
            "deleted": len(held.deleted),
            "deleted_unknown": sum(pmid not in live for pmid in held.deleted),
        }
        live |= {c.pmid: c for c in held.citations}
        for pmid in held.deleted:
            live.pop(pmid, None)
    return {"files": by_file, "final": _count(list(live.values()))}


def examples(files: Sequence[PubMedFile]) -> list[dict[str, object]]:
    """One citation of each edge case, with the text that a reader must find."""
    seen: set[str] = set()
    told: list[dict[str, object]] = []
    for held in files:
        for citation in held.citations:
            for case in sorted(citation.cases - seen):
                seen.add(case)
                told.append(
                    {
                        "case": case,
                        "file": f"pubmed/{held.name}",
                        "pmid": citation.pmid,
                        "version": citation.version,
                        "language": citation.language,
                        "date_revised": (citation.revised or citation.completed).isoformat(),
                        "title": citation.title,
                        "abstract": [[s.label, s.text] for s in citation.abstract],
                    }
                )
    return told
