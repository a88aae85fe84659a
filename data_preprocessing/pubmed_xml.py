"""PubMed XML, in every form NLM has published it, to records.

What is kept, for each citation: the title (the translated one without its brackets, the
vernacular one only if there is no other) and the first `Abstract`, one paragraph per
`AbstractText` with its label, and text beside those. `OtherAbstract` (translations, plain-language
summaries) and `CopyrightInformation` are not part of the text.
"""

import re
from collections import Counter
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

from data_preprocessing import entities
from data_preprocessing.byte_streams import head_of, root_element, utf8_chunks
from data_preprocessing.inline_text import collapse, first_child
from data_preprocessing.pubmed_text import abstract_text, title_text
from data_preprocessing.records import PUBMED_ABSTRACT, RETRACTED, Deletion, Record
from data_preprocessing.xml_reading import DamagedRecord, ReadLog, RecordSplitter, parse_record
from modelzoo_mediswift.errors import UserError

_ARTICLE_NAMES = ("PubmedArticle", "PubmedBookArticle", "DeleteCitation", "DeleteDocument")
# Root element -> what its records are called. Until 2015 the baseline had MedlineCitationSet.
RECORD_NAMES = {
    "PubmedArticleSet": _ARTICLE_NAMES,
    "PubmedBookArticleSet": _ARTICLE_NAMES,
    "PubmedArticle": _ARTICLE_NAMES,
    "PubmedBookArticle": _ARTICLE_NAMES,
    "MedlineCitationSet": ("MedlineCitation", "DeleteCitation"),
    "MedlineCitation": ("MedlineCitation", "DeleteCitation"),
}

# Some withdrawn articles carry only this link to the notice.
_RETRACTION = "RetractionIn"
_PMCID = re.compile(r"\s*(?:PMC)?(\d{1,18})(?:\.\d+)?\s*$", re.IGNORECASE)
_YEAR = re.compile(r"\b(1[6-9]|20)\d\d\b")

# Two thirds of a citation's bytes, of which no record keeps anything. None of them nests in itself
# but ReferenceList, and reference lists stand side by side at the citation's end. This is their
# order in a citation; one out of order is parsed for nothing.
_UNREAD = ("AuthorList", "GrantList", "ChemicalList", "MeshHeadingList", "History", "ReferenceList")
_UNREAD_TAGS = [(f"<{name}".encode(), f"</{name}>".encode()) for name in _UNREAD]


def read_pubmed(path: Path, log: ReadLog | None = None) -> Iterator[Record | Deletion]:
    """Stream the citations and deletions of a PubMed XML file (plain or gzip) in file order.

    `log` collects counts (`records`, `deletions`, `damaged_record`, `no_pmid` and, for
    information, `structured_abstract`, `truncated_abstract`, `copyright_notice` ...).

    Raises:
        UserError: after the last readable record, if the file is truncated or damaged; at once,
            if it is not PubMed XML.
    """
    log = log if log is not None else ReadLog()
    head = head_of(path)
    root = root_element(head)
    if root not in RECORD_NAMES:
        raise UserError(
            f"{path}: root element {root or 'missing'}; expected one of {', '.join(RECORD_NAMES)}"
        )
    declared = entities.declared(head)
    splitter = RecordSplitter(path, root, RECORD_NAMES[root], log)
    for name, raw in splitter.records(utf8_chunks(path)):
        try:
            element = _parse(name, raw, log, declared)
        except DamagedRecord as error:
            log.damaged(f"{path.name}: {_nearest_pmid(raw)}: {error}")
            continue
        if name in ("DeleteCitation", "DeleteDocument"):
            for pmid in element.iter("PMID"):
                if (number := _number(pmid.text)) is not None:
                    log.counts["deletions"] += 1
                    yield Deletion(number)
            continue
        citation = _read_book(element) if name == "PubmedBookArticle" else _read_article(element)
        record = citation.record(log.counts)
        if record.pmid is None:
            log.counts["no_pmid"] += 1
        else:
            log.counts["records"] += 1
            yield record


def _parse(name: str, raw: bytes, log: ReadLog, declared: dict[bytes, bytes]) -> Any:
    """Parse a citation without what is not read; all of it, if that is not well-formed."""
    # Comments and CDATA; to look for one byte is many times as fast as for two.
    marked = b"!" in raw and b"<!" in raw
    if name in ("PubmedArticle", "MedlineCitation") and not marked:
        try:
            return parse_record(_without_unread(raw), log, declared)
        except DamagedRecord:
            pass
    return parse_record(raw, log, declared)


def _without_unread(raw: bytes) -> bytes:
    pieces = []
    kept_to = 0
    for opening, closing in _UNREAD_TAGS:
        start = raw.find(opening, kept_to)
        if start >= 0:
            end = raw.rfind(closing, start) if closing == b"</ReferenceList>" else -1
            end = end if end >= 0 else raw.find(closing, start)
            if end >= 0:
                pieces.append(raw[kept_to:start])
                kept_to = end + len(closing)
    pieces.append(raw[kept_to:])
    return b"".join(pieces)


class _Citation:
    """The elements of one citation that a record is made of, found in one walk."""

    def __init__(self) -> None:
        self.pmid: Any = None
        self.pmcid: int | None = None
        self.revised: Any = None
        self.dates: list[Any] = []
        """Elements with a Year or MedlineDate, the best first."""
        self.titles: list[Any] = []
        """ArticleTitle, VernacularTitle: the best first."""
        self.abstracts: list[Any] = []
        self.other_abstracts = 0
        self.languages: list[str] = []
        self.types: list[str] = []

    def record(self, counts: Counter[str]) -> Record:
        """Return the record, whose pmid is None if the citation has none."""
        text = abstract_text(self.abstracts[0], counts) if self.abstracts else ""
        counts["extra_abstract_unused"] += max(0, len(self.abstracts) - 1)
        counts["other_abstract_unused"] += self.other_abstracts
        counts["without_abstract"] += not text
        counts["only_other_abstract"] += not text and self.other_abstracts > 0
        return Record(
            pmid=None if self.pmid is None else _number(self.pmid.text),
            pmcid=self.pmcid,
            version=1 if self.pmid is None else _number(self.pmid.get("Version"), 9) or 1,
            title=next(filter(None, map(title_text, self.titles)), ""),
            text=text,
            source=PUBMED_ABSTRACT,
            year=next(filter(None, map(_year, self.dates)), None),
            date_revised=None if self.revised is None else _iso_date(self.revised),
            language=self.languages[0] if self.languages else "und",
            publication_types=self.types,
        )


def _read_article(element: Any) -> _Citation:
    """Collect from a PubmedArticle or a MedlineCitation."""
    found = _Citation()
    is_medline = element.tag == "MedlineCitation"
    medline = element if is_medline else first_child(element, "MedlineCitation")
    other_ids: list[str] = []
    for child in medline if medline is not None else ():
        tag = child.tag
        if tag == "PMID":
            found.pmid = child if found.pmid is None else found.pmid
        elif tag == "DateRevised":
            found.revised = child
        elif tag in ("DateCreated", "DateCompleted"):
            found.dates.append(child)
        elif tag == "Article":
            _read_article_fields(child, found)
        elif tag == "OtherAbstract":
            found.other_abstracts += 1
        elif tag == "OtherID":
            other_ids.append(child.text or "")
        elif tag == "CommentsCorrectionsList":
            links = child.iterchildren("CommentsCorrections")
            if any(link.get("RefType") == _RETRACTION for link in links):
                found.types.append(RETRACTED)
    ids = [
        identifier.text or ""
        for data in element.iterchildren("PubmedData")
        for listed in data.iterchildren("ArticleIdList")
        for identifier in listed.iterchildren("ArticleId")
        if identifier.get("IdType") == "pmc"
    ]
    found.pmcid = _pmcid(ids)
    if found.pmcid is None:  # before 2018 it was an OtherID, among ids of other kinds
        found.pmcid = _pmcid([text for text in other_ids if text.startswith("PMC")])
    found.types = list(dict.fromkeys(found.types))
    return found


def _read_article_fields(article: Any, found: _Citation) -> None:
    dates: list[Any] = []
    vernacular: list[Any] = []
    types: list[str] = []
    for child in article:
        tag = child.tag
        if tag == "ArticleTitle":
            found.titles.append(child)
        elif tag == "VernacularTitle":
            vernacular.append(child)
        elif tag == "Abstract":
            found.abstracts.append(child)
        elif tag == "OtherAbstract":
            found.other_abstracts += 1
        elif tag == "Journal":
            for issue in child.iterchildren("JournalIssue"):
                dates = [*issue.iterchildren("PubDate"), *dates]
        elif tag == "ArticleDate":
            dates.append(child)
        elif tag == "Language":
            found.languages.append((child.text or "und").strip().lower())
        elif tag == "PublicationTypeList":
            types = [collapse(item.text or "") for item in child]
    found.titles += vernacular
    found.dates = dates + found.dates
    found.types = [name for name in types if name] + found.types


def _read_book(element: Any) -> _Citation:
    """Collect from a PubmedBookArticle (GeneReviews, StatPearls and the like)."""
    found = _Citation()
    document = element.find("BookDocument")
    if document is None:
        return found
    found.pmid = document.find("PMID")
    found.revised = document.find("DateRevised")
    found.dates = document.findall("Book/PubDate") + document.findall("ContributionDate")
    found.titles = document.findall("ArticleTitle") or document.findall("Book/BookTitle")
    found.titles += document.findall("VernacularTitle")
    found.abstracts = document.findall("Abstract")
    found.other_abstracts = len(document.findall("OtherAbstract"))
    found.languages = [
        (item.text or "und").strip().lower() for item in document.findall("Language")
    ]
    found.types = [collapse(item.text or "") for item in document.iterchildren("PublicationType")]
    return found


def _field(element: Any, name: str) -> str:
    child = first_child(element, name)
    return "" if child is None else child.text or ""


def _number(text: str | None, max_digits: int = 18) -> int | None:
    digits = (text or "").strip()
    valid = digits.isascii() and digits.isdigit() and len(digits) <= max_digits
    return int(digits) if valid else None


def _pmcid(texts: list[str]) -> int | None:
    for text in texts:
        if match := _PMCID.match(text):
            return int(match[1])
    return None


def _year(element: Any) -> int | None:
    """Return the year of a date element, also of a MedlineDate such as "1998 Dec-1999 Jan"."""
    match = _YEAR.search(_field(element, "Year") or _field(element, "MedlineDate"))
    return int(match[0]) if match else None


def _iso_date(element: Any) -> str | None:
    parts = {child.tag: _number(child.text) for child in element}
    try:
        return date(
            parts.get("Year") or 0, parts.get("Month") or 1, parts.get("Day") or 1
        ).isoformat()
    except ValueError:
        return None


def _nearest_pmid(raw: bytes) -> str:
    match = re.search(rb"<PMID[^>]*>\s*(\d+)", raw)
    return f"PMID {match[1].decode()}" if match else "a citation without a readable PMID"
