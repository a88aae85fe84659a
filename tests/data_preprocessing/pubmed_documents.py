"""Small PubMed documents, and reading them."""

from pathlib import Path

from data_preprocessing.pubmed_xml import read_pubmed
from data_preprocessing.records import Deletion, Record
from data_preprocessing.xml_reading import ReadLog


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
