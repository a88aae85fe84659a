"""One citation as PubMed XML, element by element in the order of NLM's DTD."""

import random
from collections.abc import Sequence
from datetime import date

from data_preprocessing.sample import words
from data_preprocessing.sample.citations import Citation
from data_preprocessing.sample.markup import (
    NOTICE,
    Element,
    element,
    inline,
    leaf,
    mixed,
    render,
    with_mathml,
)
from data_preprocessing.sample.studies import CATEGORIES

_TYPE_IDS = {
    "Journal Article": "D016428",
    "Review": "D016454",
    "Case Reports": "D002363",
    "Editorial": "D016421",
    "Letter": "D016422",
    "Comment": "D016420",
    "News": "D016433",
    "Retracted Publication": "D016441",
    "Retraction of Publication": "D016440",
}
_DOCTYPES = {
    "PubmedArticleSet": (
        "<!DOCTYPE PubmedArticleSet SYSTEM "
        '"http://dtd.nlm.nih.gov/ncbi/pubmed/out/pubmed_250101.dtd">'
    ),
    "MedlineCitationSet": (
        '<!DOCTYPE MedlineCitationSet PUBLIC "-//NLM//DTD Medline Citation, 1st January, 2010//EN" '
        '"http://www.nlm.nih.gov/databases/dtd/nlmmedline_100101.dtd">'
    ),
}


def _date(tag: str, day: date, **attributes: str) -> Element:
    return element(
        tag,
        leaf("Year", str(day.year)),
        leaf("Month", f"{day.month:02d}"),
        leaf("Day", f"{day.day:02d}"),
        **attributes,
    )


def _pmid(pmid: int, version: int | None) -> Element:
    attributes = {} if version is None else {"Version": str(version)}
    return leaf("PMID", str(pmid), **attributes)


def _text(citation: Citation, tag: str, text: str, **attributes: str) -> Element:
    if citation.markup == "inline":
        return mixed(tag, inline(text), **attributes)
    if citation.markup == "mathml":
        return mixed(tag, with_mathml(text), **attributes)
    return leaf(tag, text, **attributes)


def _abstract(citation: Citation) -> Element | None:
    if not citation.abstract:
        return None
    parts = []
    for section in citation.abstract:
        attributes = {}
        if section.label:
            attributes["Label"] = section.label
            if section.label in CATEGORIES:
                attributes["NlmCategory"] = CATEGORIES[section.label]
        parts.append(_text(citation, "AbstractText", section.text, **attributes))
    if citation.copyright:
        parts.append(leaf("CopyrightInformation", citation.copyright))
    return element("Abstract", *parts)


def _authors(rng: random.Random) -> Element:
    authors = []
    for surname in rng.sample(words.SURNAMES, rng.randint(1, 4)):
        forename = rng.choice(words.FORENAMES)
        place = f"Department of Examples, Invented University of {rng.choice(words.CITIES)}."
        authors.append(
            element(
                "Author",
                leaf("LastName", surname),
                leaf("ForeName", forename),
                leaf("Initials", forename[0]),
                element("AffiliationInfo", leaf("Affiliation", place)),
                ValidYN="Y",
            )
        )
    return element("AuthorList", *authors, CompleteYN="Y")


def _article(citation: Citation, rng: random.Random, journal: int) -> Element:
    name, short = words.JOURNALS[journal]
    issue = element(
        "JournalIssue",
        leaf("Volume", str(citation.year - 1980)),
        leaf("Issue", str(rng.randint(1, 12))),
        element("PubDate", leaf("Year", str(citation.year)), leaf("Month", "Mar")),
        CitedMedium="Internet",
    )
    types = [leaf("PublicationType", t, UI=_TYPE_IDS[t]) for t in citation.types]
    page = rng.randint(1, 900)
    return element(
        "Article",
        element(
            "Journal",
            leaf("ISSN", f"9999-{journal:04d}", IssnType="Electronic"),
            issue,
            leaf("Title", name),
            leaf("ISOAbbreviation", short),
        ),
        _text(citation, "ArticleTitle", citation.title),
        element("Pagination", leaf("MedlinePgn", f"{page}-{page + rng.randint(1, 9)}")),
        leaf("ELocationID", f"10.99999/{citation.pmid}", EIdType="doi", ValidYN="Y"),
        _abstract(citation),
        _authors(rng),
        leaf("Language", citation.language),
        element("PublicationTypeList", *types),
        leaf("VernacularTitle", citation.vernacular) if citation.vernacular else None,
        PubModel="Print-Electronic",
    )


def _related(citation: Citation) -> Element | None:
    if citation.related is None:
        return None
    kind, pmid = citation.related
    source = f"Ann Invent Med. {citation.year};1:1"
    item = element("CommentsCorrections", leaf("RefSource", source), _pmid(pmid, 1), RefType=kind)
    return element("CommentsCorrectionsList", item)


def _medline_citation(citation: Citation, rng: random.Random, *, old: bool) -> Element:
    """The MedlineCitation element; the old layout has no versions."""
    journal = rng.randrange(len(words.JOURNALS))
    headings = [
        element("MeshHeading", leaf("DescriptorName", name, UI=identifier, MajorTopicYN="N"))
        for name, identifier in citation.mesh
    ]
    other = None
    if citation.other_abstract:
        kind, language, text = citation.other_abstract
        other = element("OtherAbstract", leaf("AbstractText", text), Type=kind, Language=language)
    return element(
        "MedlineCitation",
        _pmid(citation.pmid, None if old else citation.version),
        _date("DateCompleted", citation.completed),
        _date("DateRevised", citation.revised or citation.completed),
        _article(citation, rng, journal),
        element(
            "MedlineJournalInfo",
            leaf("Country", "Nowhere"),
            leaf("MedlineTA", words.JOURNALS[journal][1]),
            leaf("NlmUniqueID", f"99{journal:05d}"),
            leaf("ISSNLinking", f"9999-{journal:04d}"),
        ),
        leaf("CitationSubset", "IM"),
        _related(citation),
        element("MeshHeadingList", *headings),
        other,
        Status="MEDLINE",
        Owner="NLM",
    )


def _pubmed_article(citation: Citation, rng: random.Random) -> Element:
    ids = [
        leaf("ArticleId", str(citation.pmid), IdType="pubmed"),
        leaf("ArticleId", f"10.99999/{citation.pmid}", IdType="doi"),
    ]
    if citation.pmcid:
        ids.append(leaf("ArticleId", f"PMC{citation.pmcid}", IdType="pmc"))
    return element(
        "PubmedArticle",
        _medline_citation(citation, rng, old=False),
        element(
            "PubmedData",
            element("History", _date("PubMedPubDate", citation.completed, PubStatus="pubmed")),
            leaf("PublicationStatus", "ppublish"),
            element("ArticleIdList", *ids),
        ),
    )


def _book_article(citation: Citation, rng: random.Random) -> Element:
    book = element(
        "Book",
        element(
            "Publisher",
            leaf("PublisherName", "Invented Press"),
            leaf("PublisherLocation", "Quenby"),
        ),
        leaf("BookTitle", "A Handbook of Invented Disorders", book="invented"),
        element("PubDate", leaf("Year", str(citation.year))),
        leaf("Medium", "Internet"),
    )
    document = element(
        "BookDocument",
        _pmid(citation.pmid, 1),
        element("ArticleIdList", leaf("ArticleId", f"NBK{citation.pmid}", IdType="bookaccession")),
        book,
        leaf("ArticleTitle", citation.title, book="invented", part=f"c{citation.pmid}"),
        leaf("Language", "eng"),
        _authors(rng),
        leaf("PublicationType", "Review", UI="D016454"),
        _abstract(citation),
    )
    data = element(
        "PubmedBookData",
        leaf("PublicationStatus", "ppublish"),
        element("ArticleIdList", leaf("ArticleId", str(citation.pmid), IdType="pubmed")),
    )
    return element("PubmedBookArticle", document, data)


def pubmed_xml(
    rng: random.Random,
    citations: Sequence[Citation],
    *,
    books: Sequence[Citation] = (),
    deleted: Sequence[int] = (),
    root: str = "PubmedArticleSet",
    indent: int | None = 2,
    encoding: str = "utf-8",
) -> bytes:
    """One file. `root` MedlineCitationSet is the old layout; `indent` None has no line breaks.

    `encoding` "ascii" writes every other character as a numeric reference.
    """
    if root == "MedlineCitationSet":
        children = [_medline_citation(c, rng, old=True) for c in citations]
    else:
        children = [_pubmed_article(c, rng) for c in citations]
    children += [_book_article(book, rng) for book in books]
    if deleted:
        children.append(element("DeleteCitation", *(_pmid(pmid, 1) for pmid in deleted)))
    gap = "" if indent is None else "\n"
    body = render(element(root, *children), indent).lstrip("\n")
    lines = ['<?xml version="1.0" encoding="utf-8"?>', _DOCTYPES[root], f"<!-- {NOTICE} -->", body]
    return (gap.join(lines) + gap).encode(encoding, "xmlcharrefreplace")
