"""Identifiers, title, licence, year, language and type of a JATS article."""

import re
from collections.abc import Iterator
from typing import Any

from data_preprocessing.jats_text import line_text
from data_preprocessing.records import RETRACTED

_XLINK_HREF = "{http://www.w3.org/1999/xlink}href"
_XML_LANG = "{http://www.w3.org/XML/1998/namespace}lang"
_LICENSE_REF = "{http://www.niso.org/schemas/ali/1.0/}license_ref"

# ISO 639-1 -> the (bibliographic) ISO 639-2 code that PubMed uses.
_LANGUAGES = {
    "af": "afr", "ar": "ara", "az": "aze", "bg": "bul", "bs": "bos", "ca": "cat", "cs": "cze",
    "cy": "wel", "da": "dan", "de": "ger", "el": "gre", "en": "eng", "es": "spa", "et": "est",
    "eu": "baq", "fa": "per", "fi": "fin", "fr": "fre", "gl": "glg", "he": "heb", "hi": "hin",
    "hr": "hrv", "hu": "hun", "hy": "arm", "id": "ind", "it": "ita", "ja": "jpn", "ka": "geo",
    "ko": "kor", "la": "lat", "lt": "lit", "lv": "lav", "mk": "mac", "ms": "may", "nb": "nor",
    "nl": "dut", "nn": "nor", "no": "nor", "pl": "pol", "pt": "por", "ro": "rum", "ru": "rus",
    "sk": "slo", "sl": "slv", "sq": "alb", "sr": "srp", "sv": "swe", "th": "tha", "tr": "tur",
    "uk": "ukr", "ur": "urd", "uz": "uzb", "vi": "vie", "zh": "chi",
}  # fmt: skip

_CC_URL = re.compile(r"creativecommons\.org/licen[sc]es/(by(?:-nc)?(?:-nd|-sa)?)\b", re.IGNORECASE)
_CC0_URL = re.compile(r"creativecommons\.org/(?:publicdomain/zero|licen[sc]es/publicdomain)", re.I)
_CC_CODE = re.compile(r"\bCC[\s-]?BY((?:[\s-](?:NC|ND|SA))*)\b", re.IGNORECASE)
_CC0_CODE = re.compile(
    r"\bCC[\s-]?0\b|\bCC\s*Zero\b|Creative\s*Commons\s*(?:Zero|Public Domain)", re.IGNORECASE
)
_PUBLIC_DOMAIN = re.compile(r"creativecommons\.org/publicdomain/mark|\bpublic-domain$", re.I)
_CC_WORDS = re.compile(
    r"Creative\s*Commons\s*(?:by\s+)?Attribution\W*"
    r"(Non-?\s?Commercial)?\W*(No-?\s?Deriv\w*|Share-?\s?Alike)?",
    re.IGNORECASE,
)
_YEAR = re.compile(r"\s*(?:1[6-9]|20)\d\d\s*")
_RETRACTED_TITLE = re.compile(r"\W*retracted(?:\s+article)?\b\W*[:.\]]", re.IGNORECASE)


def article_ids(meta: Any) -> tuple[int | None, int | None]:
    """Return (PMID, PMCID) of an `<article-meta>`; None for each that is missing."""
    found: dict[str, int] = {}
    for identifier in meta.iterchildren("article-id"):
        kind = identifier.get("pub-id-type")
        number = re.fullmatch(r"\s*(?:PMC)?(\d{1,18})(?:\.\d+)?\s*", identifier.text or "")
        if number and kind is not None:
            found.setdefault(kind, int(number[1]))
    return found.get("pmid"), found.get("pmc", found.get("pmcid"))


def title(meta: Any) -> str:
    """Return the article's title with its subtitle, on one line."""
    groups = list(meta.iterchildren("title-group"))
    titles = [part for group in groups for part in group.iterchildren("article-title")]
    titles = titles or list(meta.iterchildren("article-title"))
    titles += [part for group in groups for part in group.iterchildren("subtitle")]
    whole = ""
    for part in filter(None, map(line_text, titles)):
        joint = "" if not whole else " " if whole[-1] in ":.?!" else ": "
        whole += joint + part
    return whole


def year(meta: Any) -> int | None:
    """Return the year in which the article first appeared, in print or electronically."""
    years = [
        int(element.text)
        for published in meta.iterchildren("pub-date")
        if published.get("pub-type") != "nihms-submitted"
        for element in published.iterchildren("year")
        if _YEAR.fullmatch(element.text or "")
    ]
    return min(years, default=None)


def language(article: Any) -> str:
    """Return the article's ISO 639-2 code; English is the document type's own default."""
    code = (article.get(_XML_LANG) or "en").partition("-")[0].strip().lower()
    return _LANGUAGES.get(code, code if len(code) == 3 else "und")


def publication_types(article: Any, meta: Any, article_title: str) -> list[str]:
    """Return the article-type, followed by RETRACTED if the article itself says so."""
    kind = article.get("article-type")
    types = [kind] if kind else []
    withdrawn = (
        kind == "retracted-article"
        or "retraction-forward"
        in [related.get("related-article-type") for related in meta.iterchildren("related-article")]
        or _RETRACTED_TITLE.match(article_title)
    )
    return [*types, RETRACTED] if withdrawn else types


def licence(meta: Any) -> str | None:
    """Return the article's licence as "CC-BY", "CC-BY-NC-ND", "CC0", "PD", or None.

    Links decide before words, and the licence before the copyright line.
    """
    return next(filter(None, map(licence_code, _statements(meta))), None)


def _statements(meta: Any) -> Iterator[str]:
    """Yield what may name the licence, one after the other: the first that does decides."""
    permissions = list(meta.iterchildren("permissions"))
    licences = [element for p in permissions for element in p.iterchildren("license")]
    yield from (element.get(_XLINK_HREF, "") for element in licences)
    yield from (reference.text or "" for p in permissions for reference in p.iter(_LICENSE_REF))
    for element in licences:
        yield from (link.get(_XLINK_HREF, "") for link in element.iter("ext-link", "uri"))
    yield from (element.get("license-type", "") for element in licences)
    # Before JATS (NLM DTD 1 and 2) the statement stood in article-meta or in the copyright line.
    for statement in (*licences, *meta.iter("copyright-statement", "license-p")):
        yield " ".join("".join(statement.itertext()).split())


def licence_code(text: str) -> str | None:
    """Return the code of the Creative Commons licence (or mark) that a link or statement names."""
    if match := _CC_URL.search(text):
        return "CC-" + match[1].upper()
    if _CC0_URL.search(text) or _CC0_CODE.search(text):
        return "CC0"
    if _PUBLIC_DOMAIN.search(text):
        return "PD"
    if match := _CC_CODE.search(text):
        return "CC-BY" + re.sub(r"[\s-]+", "-", match[1]).upper()
    if match := _CC_WORDS.search(text):
        code = "CC-BY-NC" if match[1] else "CC-BY"
        if match[2]:
            code += "-ND" if match[2].lower().startswith("no") else "-SA"
        return code
    return None
