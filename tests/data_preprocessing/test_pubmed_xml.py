"""PubMed XML: the fields of a record."""

from pathlib import Path

import pytest
from pubmed_documents import abstract, article_set, citation, one, read, title

from data_preprocessing.records import PUBMED_ABSTRACT, RETRACTED, Record


def test_every_field_of_a_record(tmp_path: Path) -> None:
    record = one(
        tmp_path,
        pmid=" 123 ",
        version=2,
        article="<Journal><JournalIssue><PubDate><Year>2001</Year></PubDate></JournalIssue>"
        "<Title>A journal</Title></Journal>"
        + title("A study of frogs.")
        + abstract("Frogs were studied.")
        + "<AuthorList><Author><LastName>Writer</LastName></Author></AuthorList>"
        "<Language>ENG</Language><Language>fre</Language><PublicationTypeList>"
        '<PublicationType UI="D016428">Journal Article</PublicationType>'
        "<PublicationType>Review</PublicationType></PublicationTypeList>",
        medline="<DateRevised><Year>2015</Year><Month>3</Month><Day>09</Day></DateRevised>"
        "<CommentsCorrectionsList><CommentsCorrections RefType='Cites'><PMID>999</PMID>"
        "</CommentsCorrections></CommentsCorrectionsList>",
        data="<ArticleIdList><ArticleId IdType='pubmed'>123</ArticleId>"
        "<ArticleId IdType='pmc'>PMC456.2</ArticleId></ArticleIdList>"
        "<ReferenceList><Reference><ArticleIdList><ArticleId IdType='pmc'>PMC1</ArticleId>"
        "</ArticleIdList></Reference></ReferenceList>",
    )
    assert record == Record(
        pmid=123,
        pmcid=456,
        version=2,
        title="A study of frogs.",
        text="Frogs were studied.",
        source=PUBMED_ABSTRACT,
        licence=None,
        year=2001,
        date_revised="2015-03-09",
        language="eng",
        publication_types=["Journal Article", "Review"],
    )


def test_structured_abstract_keeps_its_labels(tmp_path: Path) -> None:
    record = one(
        tmp_path,
        article="<Abstract>"
        '<AbstractText Label="BACKGROUND" NlmCategory="BACKGROUND">It rains.</AbstractText>'
        '<AbstractText Label="AIM:">To count drops.</AbstractText>'
        '<AbstractText Label="UNLABELLED" NlmCategory="UNASSIGNED">Plain.</AbstractText>'
        '<AbstractText NlmCategory="METHODS">No label.</AbstractText>'
        '<AbstractText Label="RESULTS">RESULTS: Said twice.</AbstractText>'
        '<AbstractText Label="EMPTY"/>'
        "<CopyrightInformation>Copyright 2001 Nobody.</CopyrightInformation></Abstract>",
    )
    assert record.text.split("\n") == [
        "BACKGROUND: It rains.",
        "AIM: To count drops.",
        "Plain.",
        "No label.",
        "RESULTS: Said twice.",
    ]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("Frogs\n  sing.", "Frogs sing."),
        ("<i>Rana</i> sings at <sub>low</sub> heights.", "Rana sings at low heights."),
        (
            "Before. <AbstractText Label='AIM'>To hear.</AbstractText> Be<b>tween</b>."
            "<AbstractText>Inside.</AbstractText><CopyrightInformation>(c) Nobody."
            "</CopyrightInformation> After.",
            "Before.\nAIM: To hear.\nBetween.\nInside.\nAfter.",
        ),
    ],
)
def test_text_beside_the_elements_for_it_is_kept(tmp_path: Path, content: str, text: str) -> None:
    document = article_set(citation(article=f"<Abstract>{content}</Abstract>"))
    (record,), log = read(tmp_path, document)
    assert record.text == text
    assert log.counts["loose_abstract_text"] == 1
    document = article_set(citation(article="<Abstract>\n <CopyrightInformation>(c)"
                                            "</CopyrightInformation>\n</Abstract>"))  # fmt: skip
    (record,), log = read(tmp_path, document)
    assert (record.text, log.counts["loose_abstract_text"]) == ("", 0)


def test_only_the_first_abstract_is_the_text(tmp_path: Path) -> None:
    document = article_set(
        citation(
            article=abstract("The main one.") + abstract("Another."),
            medline='<OtherAbstract Type="Publisher" Language="spa"><AbstractText>Lluvia.'
            "</AbstractText></OtherAbstract>",
        ),
        citation(
            pmid=2,
            medline='<OtherAbstract Type="PIP" Language="eng"><AbstractText>PIP.</AbstractText>'
            "</OtherAbstract>",
        ),
    )
    (first, second), log = read(tmp_path, document)
    assert (first.text, second.text) == ("The main one.", "")
    assert log.counts["extra_abstract_unused"] == 1
    assert log.counts["other_abstract_unused"] == 2
    assert log.counts["only_other_abstract"] == 1
    assert log.counts["without_abstract"] == 1


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("the <i>BRCA1</i> gene", "the BRCA1 gene"),
        ("H<sub>2</sub>O and Ca<sup>2+</sup>", "H2O and Ca2+"),
        ("3 x 10<sup>6</sup> cells, 10<sup>-3</sup>, 5 cm<sup>2</sup>", None),
        ("<b>bold <i>and italic</i></b>, <u>under</u>", "bold and italic, under"),
        ("one<br/>two", "one two"),
        ("  many \n\t  blanks\u00a0here ", "many blanks here"),
        ("&lt;0.05 &amp; 5&#x2009;mg", "<0.05 & 5 mg"),
        ("cafe\u0301", "caf\u00e9"),
        ("no <!-- comment --> here", "no here"),
        ("<![CDATA[p < 0.05 & more]]>", "p < 0.05 & more"),
    ],
)
def test_inline_markup(tmp_path: Path, markup: str, text: str | None) -> None:
    record = one(tmp_path, article=title(markup) + abstract(markup))
    expected = text or "3 x 10^6 cells, 10^-3, 5 cm2"
    assert (record.title, record.text) == (expected, expected)


def test_mathml_gives_its_own_text_without_layout_blanks(tmp_path: Path) -> None:
    math = """uptake ( <mml:math xmlns:mml="http://www.w3.org/1998/Math/MathML">
                <mml:msub>
                    <mml:mi>V</mml:mi>
                    <mml:mrow><mml:mi>O</mml:mi><mml:mn>2</mml:mn></mml:mrow>
                </mml:msub>
            </mml:math> ) rose"""
    assert one(tmp_path, article=abstract(math)).text == "uptake ( VO2 ) rose"


def test_namespace_declared_on_the_root_reaches_the_records(tmp_path: Path) -> None:
    document = (
        '<PubmedArticleSet xmlns:mml="http://www.w3.org/1998/Math/MathML">'
        + citation(article=abstract("<mml:math><mml:mi>x</mml:mi></mml:math> rose"))
        + "</PubmedArticleSet>"
    )
    (record,), log = read(tmp_path, document)
    assert record.text == "x rose"
    assert not log.problems


@pytest.mark.parametrize(
    ("given_title", "vernacular", "expected"),
    [
        ("[The frog.]", None, "The frog."),
        ("[The frog].", None, "The frog."),
        ("[The [red] frog (author's transl)].", None, "The [red] frog (author's transl)."),
        ("[Is it a frog?]", None, "Is it a frog?"),
        ("[3H]dopamine in [abstract].", None, "[3H]dopamine in [abstract]."),
        ("[Not Available].", "La grenouille.", "La grenouille."),
        ("", "La grenouille.", "La grenouille."),
        ("[The frog].", "La grenouille.", "The frog."),
        ("", None, ""),
    ],
)
def test_titles(tmp_path: Path, given_title: str, vernacular: str | None, expected: str) -> None:
    other = f"<VernacularTitle>{vernacular}</VernacularTitle>" if vernacular else ""
    assert one(tmp_path, article=title(given_title) + other).title == expected


def test_note_of_truncation_is_removed_and_counted(tmp_path: Path) -> None:
    document = article_set(
        *(
            citation(pmid=i + 1, article=abstract("Frogs jump.\n" + tail))
            for i, tail in enumerate(
                ["(ABSTRACT TRUNCATED AT 250 WORDS)", "(ABSTRACT TRUNCATED)", "(truncated cone)"]
            )
        )
    )
    records, log = read(tmp_path, document)
    assert [r.text for r in records] == [
        "Frogs jump.",
        "Frogs jump.",
        "Frogs jump. (truncated cone)",
    ]
    assert log.counts["truncated_abstract"] == 2


@pytest.mark.parametrize(
    ("dates", "year"),
    [
        ("<Year>1976</Year><Season>Fall</Season>", 1976),
        ("<MedlineDate>1998 Dec-1999 Jan</MedlineDate>", 1998),
        ("<MedlineDate>Winter</MedlineDate>", None),
        ("", None),
    ],
)
def test_year(tmp_path: Path, dates: str, year: int | None) -> None:
    issue = f"<Journal><JournalIssue><PubDate>{dates}</PubDate></JournalIssue></Journal>"
    assert one(tmp_path, article=issue).year == year


def test_electronic_date_stands_in_for_a_missing_issue_date(tmp_path: Path) -> None:
    parts = "<Journal/>" + "<ArticleDate><Year>2011</Year></ArticleDate>"
    assert one(tmp_path, article=parts).year == 2011


def test_impossible_revision_date_is_no_date(tmp_path: Path) -> None:
    revised = "<DateRevised><Year>2011</Year><Month>02</Month><Day>31</Day></DateRevised>"
    assert one(tmp_path, medline=revised).date_revised is None


def test_retraction_by_type_or_by_link(tmp_path: Path) -> None:
    types = (
        f"<PublicationTypeList><PublicationType>{RETRACTED}</PublicationType></PublicationTypeList>"
    )
    link = '<CommentsCorrectionsList><CommentsCorrections RefType="{}"/></CommentsCorrectionsList>'
    (a, b, notice, both), _ = read(
        tmp_path,
        article_set(
            citation(1, article=types),
            citation(2, medline=link.format("RetractionIn")),
            citation(3, medline=link.format("RetractionOf")),
            citation(4, article=types, medline=link.format("RetractionIn")),
        ),
    )
    assert [r.publication_types for r in (a, b, notice, both)] == [
        [RETRACTED],
        [RETRACTED],
        [],
        [RETRACTED],
    ]


def test_pmcid_of_older_files_is_an_other_id(tmp_path: Path) -> None:
    other = '<OtherID Source="NLM">NIHMS5</OtherID><OtherID Source="NLM">PMC77</OtherID>'
    assert one(tmp_path, medline=other).pmcid == 77
