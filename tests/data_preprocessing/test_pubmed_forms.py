"""PubMed XML: every form a file can have."""

import gzip
import re
from pathlib import Path

import pytest
from pubmed_documents import abstract, article_set, citation, read, title

from data_preprocessing.pubmed_xml import read_pubmed
from data_preprocessing.records import Deletion, Record
from data_preprocessing.xml_reading import ReadLog
from modelzoo_mediswift.errors import UserError

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


@pytest.mark.parametrize(
    "name", ["hex", "zlib", "rot13", "idna", "punycode", "cp500", "utf-32", "x"]
)
def test_a_declared_encoding_that_the_text_cannot_be_in(tmp_path: Path, name: str) -> None:
    document = f'<?xml version="1.0" encoding="{name}"?>' + citation(1, article=title("Café é"))
    (record,), _ = read(tmp_path, document.encode())
    assert record.title == "Café é"


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "utf-16-le", "utf-16-be", "cp1252"])
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
    for empty in ("<PubmedArticleSet/>", '<PubmedArticleSet a="b" />\n', "<MedlineCitationSet/>"):
        assert read(tmp_path, '<?xml version="1.0"?>' + empty) == ([], ReadLog())


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
