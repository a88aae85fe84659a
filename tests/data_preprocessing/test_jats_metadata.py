import pytest
from lxml import etree

from data_preprocessing import jats_metadata as metadata
from data_preprocessing.records import RETRACTED

NAMESPACES = (
    'xmlns:xlink="http://www.w3.org/1999/xlink" xmlns:ali="http://www.niso.org/schemas/ali/1.0/"'
)


def meta(content: str) -> etree._Element:
    return etree.fromstring(f"<article-meta {NAMESPACES}>{content}</article-meta>")


def article_id(kind: str, value: str) -> str:
    return f'<article-id pub-id-type="{kind}">{value}</article-id>'


@pytest.mark.parametrize(
    ("content", "ids"),
    [
        (article_id("pmid", "12") + article_id("pmc", "34"), (12, 34)),
        (article_id("pmc", "PMC34") + article_id("doi", "10.1/5"), (None, 34)),
        (article_id("pmcid", "PMC34.1") + article_id("pmcaid", "99"), (None, 34)),
        (article_id("pmid", "") + article_id("pmc", "x"), (None, None)),
        ("", (None, None)),
    ],
)
def test_article_ids(content: str, ids: tuple[int | None, int | None]) -> None:
    assert metadata.article_ids(meta(content)) == ids


def test_title_with_subtitle() -> None:
    group = "<title-group><article-title>{}</article-title><subtitle>{}</subtitle></title-group>"
    assert metadata.title(meta(group.format("Frogs", "a trial"))) == "Frogs: a trial"
    assert metadata.title(meta(group.format("Frogs?", "A trial"))) == "Frogs? A trial"
    assert metadata.title(meta(group.format("Frogs", ""))) == "Frogs"
    assert metadata.title(meta("")) == ""


def test_year_is_the_earliest_publication() -> None:
    dates = (
        '<pub-date pub-type="nihms-submitted"><year>1999</year></pub-date>'
        '<pub-date pub-type="collection"><year>2005</year></pub-date>'
        '<pub-date pub-type="epub"><year>2004</year></pub-date>'
        '<pub-date pub-type="ppub"><season>Fall</season></pub-date>'
    )
    assert metadata.year(meta(dates)) == 2004
    assert metadata.year(meta("")) is None


@pytest.mark.parametrize(
    ("code", "language"),
    [("en", "eng"), ("EN", "eng"), ("de-AT", "ger"), ("fre", "fre"), (None, "eng"), ("qq", "und")],
)
def test_language(code: str | None, language: str) -> None:
    article = etree.Element("article")
    if code:
        article.set("{http://www.w3.org/XML/1998/namespace}lang", code)
    assert metadata.language(article) == language


@pytest.mark.parametrize(
    ("kind", "content", "title", "types"),
    [
        ("research-article", "", "Frogs", ["research-article"]),
        ("retraction", '<related-article related-article-type="retracted-article"/>', "Notice",
         ["retraction"]),
        ("research-article", '<related-article related-article-type="retraction-forward"/>', "A",
         ["research-article", RETRACTED]),
        ("research-article", "", "RETRACTED: Frogs", ["research-article", RETRACTED]),
        ("research-article", "", "[Retracted] Frogs", ["research-article", RETRACTED]),
        ("research-article", "", "Retracted articles of the year", ["research-article"]),
        (None, "", "Frogs", []),
    ],
)  # fmt: skip
def test_publication_types(kind: str | None, content: str, title: str, types: list[str]) -> None:
    article = etree.Element("article")
    if kind:
        article.set("article-type", kind)
    assert metadata.publication_types(article, meta(content), title) == types


CC = "http://creativecommons.org/licenses"


@pytest.mark.parametrize(
    ("permissions", "code"),
    [
        (f'<license xlink:href="{CC}/by/4.0/"/>', "CC-BY"),
        (f'<license xlink:href="{CC}/by-nc-nd/3.0/igo"/>', "CC-BY-NC-ND"),
        (f"<license><ali:license_ref>{CC}/by-nc/4.0/</ali:license_ref></license>", "CC-BY-NC"),
        (f'<license><p>See <ext-link xlink:href="{CC}/by-sa/4.0">it</ext-link></p></license>',
         "CC-BY-SA"),
        ('<license xlink:href="http://creativecommons.org/publicdomain/zero/1.0/"/>', "CC0"),
        ('<license xlink:href="http://creativecommons.org/publicdomain/mark/1.0/"/>', "PD"),
        ('<license license-type="CC BY-NC"/>', "CC-BY-NC"),
        ("<license><license-p>under the Creative Commons Attribution-NonCommercial-NoDerivs "
         "License</license-p></license>", "CC-BY-NC-ND"),
        ("<license><license-p>the terms of the Creative Commons Attribution License, which"
         "</license-p></license>", "CC-BY"),
        ("<copyright-statement>Creative Commons Public Domain declaration</copyright-statement>",
         "CC0"),
        ("<copyright-statement>All rights reserved.</copyright-statement>", None),
        ('<license license-type="open-access"/>', None),
    ],
)  # fmt: skip
def test_licence(permissions: str, code: str | None) -> None:
    assert metadata.licence(meta(f"<permissions>{permissions}</permissions>")) == code


@pytest.mark.parametrize(
    ("listed", "code"),
    [("CC BY", "CC-BY"), ("CC BY-NC-ND", "CC-BY-NC-ND"), ("CC0", "CC0"), ("NO-CC CODE", None)],
)
def test_codes_of_the_file_lists(listed: str, code: str | None) -> None:
    assert metadata.licence_code(listed) == code
