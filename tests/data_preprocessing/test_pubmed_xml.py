import gzip
import json
import re
from pathlib import Path

import pytest

from data_preprocessing.pubmed_xml import read_pubmed
from data_preprocessing.records import PUBMED_ABSTRACT, RETRACTED, Deletion, Record
from data_preprocessing.xml_reading import ReadLog
from modelzoo_mediswift.errors import UserError


def citation(
    pmid: int | str = 1, *, version: int = 1, article: str = "", medline: str = "", data: str = ""
) -> str:
    return (
        f'<PubmedArticle><MedlineCitation><PMID Version="{version}">{pmid}</PMID>'
        f"<Article>{article}</Article>{medline}</MedlineCitation>"
        f"<PubmedData>{data}</PubmedData></PubmedArticle>"
    )


def title(text: str) -> str:
    return f"<ArticleTitle>{text}</ArticleTitle>"


def abstract(text: str) -> str:
    return f"<Abstract><AbstractText>{text}</AbstractText></Abstract>"


def article_set(*parts: str) -> str:
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        '<!DOCTYPE PubmedArticleSet SYSTEM "http://dtd.nlm.nih.gov/none.dtd">\n'
        f"<PubmedArticleSet>{''.join(parts)}</PubmedArticleSet>"
    )


def read(tmp_path: Path, document: str | bytes) -> tuple[list[Record | Deletion], ReadLog]:
    path = tmp_path / "file.xml"
    path.write_bytes(document.encode() if isinstance(document, str) else document)
    log = ReadLog()
    return list(read_pubmed(path, log)), log


def one(tmp_path: Path, **parts: str) -> Record:
    (record,), _ = read(tmp_path, article_set(citation(**parts)))
    assert isinstance(record, Record)
    return record


# -- the fields ----------------------------------------------------------------------------------


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


# -- the forms of files --------------------------------------------------------------------------

SIMPLE = citation(7, article=title("T") + abstract("A b."))


_CITATION_ALONE = re.sub(r"</?PubmedArticle>|<PubmedData>.*</PubmedData>", "", SIMPLE)
FORMS = {
    "set": article_set(SIMPLE),
    "bare": SIMPLE,
    "bare with declaration": '<?xml version="1.0"?>\n' + SIMPLE,
    "old set": f"<MedlineCitationSet>{_CITATION_ALONE}</MedlineCitationSet>",
    "old bare": _CITATION_ALONE,
    "line breaks": article_set(SIMPLE).replace("><", ">\n  <"),
    "byte-order mark": "\ufeff" + article_set(SIMPLE),
    "blanks in tags": article_set(SIMPLE)
    .replace("<PubmedArticle>", "<PubmedArticle\n>")
    .replace("</PubmedArticle>", "</PubmedArticle\n>"),
    "comment before root": "<!-- a note: <PubmedArticle> -->" + article_set(SIMPLE)[38:],
    "commented record": f"<PubmedArticleSet><!-- {citation(8)} -->{SIMPLE}</PubmedArticleSet>",
    "internal subset": "<!DOCTYPE PubmedArticleSet [<!ENTITY a 'b'>]>"
    f"<PubmedArticleSet>{SIMPLE}</PubmedArticleSet>",
}


@pytest.mark.parametrize("document", FORMS.values(), ids=FORMS.keys())
def test_forms_of_the_file(tmp_path: Path, document: str) -> None:
    records, log = read(tmp_path, document)
    assert [(r.pmid, r.title, r.text) for r in records] == [(7, "T", "A b.")]
    assert not log.problems


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "cp1252"])
def test_other_encodings(tmp_path: Path, encoding: str) -> None:
    document = f'<?xml version="1.0" encoding="{encoding}"?>' + citation(1, article=title("Café é"))
    (record,), _ = read(tmp_path, document.encode(encoding))
    assert record.title == "Café é"


def test_gzip_is_recognized_by_its_bytes_not_its_name(tmp_path: Path) -> None:
    document = article_set(*(citation(i, article=abstract("x")) for i in range(1, 6)))
    (records, _) = read(tmp_path, gzip.compress(document.encode()))
    assert [r.pmid for r in records] == [1, 2, 3, 4, 5]


def test_no_line_breaks_between_many_articles(tmp_path: Path) -> None:
    """Records longer than the reader's blocks together, in one line."""
    text = "word " * 500
    document = article_set(*(citation(i, article=abstract(text)) for i in range(1, 2001)))
    assert "\n" not in document[document.index("<PubmedArticleSet") :]
    records, _ = read(tmp_path, document)
    assert [r.pmid for r in records] == list(range(1, 2001))
    assert {r.text for r in records} == {text.strip()}


def test_books(tmp_path: Path) -> None:
    book = (
        "<PubmedBookArticle><BookDocument><PMID>55</PMID><ArticleIdList/>"
        "<Book><BookTitle>Gene Reviews</BookTitle><PubDate><Year>1993</Year></PubDate></Book>"
        "<ArticleTitle>A syndrome</ArticleTitle><Language>eng</Language>"
        + abstract("What it is.")
        + '<PublicationType UI="D016454">Review</PublicationType></BookDocument>'
        "<PubmedBookData/></PubmedBookArticle>"
    )
    (chapter, whole, _), _ = read(
        tmp_path,
        article_set(book, book.replace("<ArticleTitle>A syndrome</ArticleTitle>", ""), SIMPLE),
    )
    assert (chapter.pmid, chapter.title, chapter.text) == (55, "A syndrome", "What it is.")
    assert (chapter.year, chapter.publication_types) == (1993, ["Review"])
    assert whole.title == "Gene Reviews"


def test_deletions_keep_their_place(tmp_path: Path) -> None:
    deletion = '<DeleteCitation><PMID Version="1">3</PMID>\n<PMID>4</PMID></DeleteCitation>'
    items, log = read(tmp_path, article_set(citation(3), deletion, citation(4)))
    assert [item.pmid for item in items] == [3, 3, 4, 4]
    assert [type(item) for item in items] == [Record, Deletion, Deletion, Record]
    assert (log.counts["records"], log.counts["deletions"]) == (2, 2)
    _, log = read(tmp_path, article_set("<DeleteCitation/>", citation(5)))
    assert (log.counts["records"], log.counts["damaged_record"]) == (1, 0)


def test_two_versions_in_one_file_are_two_records(tmp_path: Path) -> None:
    records, _ = read(tmp_path, article_set(citation(9, version=1), citation(9, version=2)))
    assert [(r.pmid, r.version) for r in records] == [(9, 1), (9, 2)]


def test_an_answer_without_articles_is_no_error(tmp_path: Path) -> None:
    assert read(tmp_path, article_set()) == ([], ReadLog())


@pytest.mark.parametrize("pmid", ["", "none", "12a", "-5", "9" * 30])
def test_citation_without_pmid_is_counted(tmp_path: Path, pmid: str) -> None:
    records, log = read(tmp_path, article_set(citation(pmid), SIMPLE))
    assert [r.pmid for r in records] == [7]
    assert log.counts["no_pmid"] == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "root element missing"),
        (b"just words", "root element missing"),
        (b"<html><body/></html>", "root element html"),
        (b"\x1f\x8b" + b"garbage" * 5, "the gzip file is damaged"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "file.xml"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        list(read_pubmed(path))


# -- real files ----------------------------------------------------------------------------------


def _raw_records(path: Path) -> list[str]:
    """An independent reading: regular expressions on the text, no XML parser."""
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as handle:
        return re.findall(r"<PubmedArticle>.*?</PubmedArticle>", handle.read(), re.DOTALL)


@pytest.mark.real_data
def test_real_files_against_an_independent_count(real_data: Path) -> None:
    folder = real_data / "pubmed_xml"
    paths = sorted(folder.glob("*.xml*")) + sorted(folder.glob("efetch/*.xml"))
    assert len(paths) > 50
    for path in paths:
        log = ReadLog()
        records = list(read_pubmed(path, log))
        raw = _raw_records(path)
        assert not log.problems
        pmids = [re.search(r"<PMID[^>]*>(\d+)<", text) for text in raw]
        assert [r.pmid for r in records] == [int(m[1]) for m in pmids if m]
        assert [bool(r.text) for r in records] == [
            bool(re.search(r"<Abstract>.*?<AbstractText[^>/]*>\s*\S", text, re.DOTALL))
            for text in raw
        ]
        for record, text in zip(records, raw, strict=True):
            main = re.search(r"<Abstract>(.*?)</Abstract>", text, re.DOTALL)
            labels = re.findall(r'AbstractText Label="([^"]+)"', main[1]) if main else []
            for label in labels:
                assert label == "UNLABELLED" or f"{label.rstrip(':')}:" in record.text


@pytest.mark.real_data
def test_real_text_is_at_least_the_piles(real_data: Path) -> None:
    """Every word the Pile's script keeps is kept (it drops records that are in PMC)."""
    folder = real_data / "pubmed_xml"
    for pile in sorted((folder / "pile_text").glob("*.jsonl")):
        records = {r.pmid: r for r in read_pubmed(folder / f"{pile.stem}.xml.gz")}
        for line in pile.read_text().splitlines():
            row = json.loads(line)
            record = records[int(row["meta"]["pmid"])]
            ours = (record.title + " " + record.text).replace("10^", "10")
            words = re.findall(r"\w+", row["text"])
            have = re.findall(r"\w+", ours)
            missing = set(words) - set(have)
            assert not missing, (record.pmid, missing)
