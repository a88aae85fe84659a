"""Damage and hostile input, tried through the PubMed reader; the JATS reader shares the code."""

import gzip
import http.server
import threading
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from data_preprocessing.pubmed_xml import read_pubmed
from data_preprocessing.records import Deletion, Record
from data_preprocessing.xml_reading import ReadLog
from modelzoo_mediswift.errors import UserError


def citation(pmid: int, title: str = "T", abstract: str = "") -> str:
    return (
        f"<PubmedArticle><MedlineCitation><PMID>{pmid}</PMID><Article>"
        f"<ArticleTitle>{title}</ArticleTitle>"
        f"<Abstract><AbstractText>{abstract}</AbstractText></Abstract></Article>"
        "</MedlineCitation></PubmedArticle>"
    )


def article_set(*parts: str) -> str:
    return f"<PubmedArticleSet>{''.join(parts)}</PubmedArticleSet>"


def read(tmp_path: Path, document: str | bytes) -> tuple[list[Record | Deletion], ReadLog]:
    path = tmp_path / "file.xml"
    path.write_bytes(document.encode() if isinstance(document, str) else document)
    log = ReadLog()
    return list(read_pubmed(path, log)), log


# -- damage --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "damage",
    [
        citation(2, "<b>no end"),
        citation(2, title="a <i>b</b> c"),
        citation(2).replace("</PubmedArticle>", ""),
        citation(2).replace("<PubmedArticle>", ""),
        citation(2, title="control \x01 character"),
        citation(2, "x & y"),
    ],
    ids=["open element", "crossed tags", "no end tag", "no start tag", "control", "ampersand"],
)
def test_damage_costs_its_record_only(tmp_path: Path, damage: str) -> None:
    records, log = read(tmp_path, article_set(citation(1), damage, citation(3)))
    assert [r.pmid for r in records] == [1, 3]
    assert log.counts["damaged_record"] == 1
    assert len(log.problems) == 1
    assert log.problems[0].startswith("file.xml: ")


def test_invalid_utf8_costs_its_record_only(tmp_path: Path) -> None:
    document = article_set(citation(1), citation(2, title="caf@"), citation(3))
    records, log = read(tmp_path, document.encode().replace(b"@", b"\xe9"))
    assert [r.pmid for r in records] == [1, 3]
    assert "PMID 2" in log.problems[0]


def test_named_entities_of_a_document_type_are_resolved(tmp_path: Path) -> None:
    document = article_set(citation(1, "&alpha;-tocopherol &lsqb;5&percnt;&rsqb;"))
    (record,), _ = read(tmp_path, document)
    assert record.title == "α-tocopherol [5%]"


def test_truncated_file_gives_what_was_before(tmp_path: Path) -> None:
    whole = article_set(*(citation(i, abstract="text " * 20) for i in range(1, 101)))
    path = tmp_path / "cut.xml"
    path.write_text(whole[: len(whole) // 2 + 30])
    records, log = [], ReadLog()
    with pytest.raises(UserError, match=r"cut\.xml: truncated: it ends inside a <PubmedArticle>"):
        records.extend(read_pubmed(path, log))  # extend keeps what came before the error
    assert [r.pmid for r in records] == list(range(1, len(records) + 1))
    assert 45 <= len(records) <= 51
    assert log.counts["damaged_record"] == 1

    path.write_text(whole.removesuffix("</PubmedArticleSet>"))
    with pytest.raises(UserError, match="does not end with </PubmedArticleSet>"):
        list(read_pubmed(path))


def test_damaged_gzip_gives_what_was_before(tmp_path: Path) -> None:
    whole = article_set(*(citation(i, abstract=f"{i * 7}") for i in range(1, 3001)))
    data = gzip.compress(whole.encode())
    path = tmp_path / "x.xml.gz"

    path.write_bytes(data[: len(data) // 2])
    records: list[Record | Deletion] = []
    with pytest.raises(UserError, match="the gzip file is truncated"):
        records.extend(read_pubmed(path))
    assert len(records) > 1000

    damaged = bytearray(data)
    damaged[len(data) // 2 : len(data) // 2 + 64] = b"\xff" * 64
    path.write_bytes(damaged)
    records = []
    with pytest.raises(UserError, match=r"x\.xml\.gz"):
        records.extend(read_pubmed(path))
    assert len(records) > 1000


# -- hostile input -------------------------------------------------------------------------------


def test_entity_bomb_is_not_expanded(tmp_path: Path) -> None:
    levels = "".join(
        f'<!ENTITY e{i} "{f"&e{i - 1};" * 10}">' if i else '<!ENTITY e0 "ha">' for i in range(12)
    )
    document = (
        f"<!DOCTYPE PubmedArticleSet [{levels}]><PubmedArticleSet>"
        + citation(1, title="x &e11; y")
        + "</PubmedArticleSet>"
    )
    (record,), log = read(tmp_path, document)
    assert record.title == "x y"
    assert log.counts["unknown_entity"] == 1


def test_external_entities_are_neither_read_nor_fetched(tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    requests: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            requests.append(self.path)
            self.send_response(404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        address = f"http://127.0.0.1:{server.server_port}"
        document = (
            f'<!DOCTYPE PubmedArticleSet SYSTEM "{address}/pubmed.dtd" ['
            f'<!ENTITY file SYSTEM "{secret.as_uri()}"><!ENTITY net SYSTEM "{address}/x">'
            f'<!ENTITY % parameter SYSTEM "{address}/p"> %parameter;]><PubmedArticleSet>'
            + citation(1, title="a &file; b &net; c")
            + "</PubmedArticleSet>"
        )
        (record,), _ = read(tmp_path, document)
        server.shutdown()
        thread.join()
    assert record.title == "a b c"
    assert requests == []


def test_decompression_bomb_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("data_preprocessing.byte_streams.FREE_EXPANSION", 8 << 20)
    path = tmp_path / "bomb.xml.gz"
    start = article_set(citation(7)).removesuffix("</PubmedArticleSet>").encode()
    path.write_bytes(gzip.compress(start + b" " * (64 << 20)))
    records: list[Record | Deletion] = []
    with pytest.raises(UserError, match="expands more than 200 times"):
        records.extend(read_pubmed(path))
    assert len(records) == 1


def test_a_record_without_end_does_not_fill_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("data_preprocessing.xml_reading.MAX_RECORD_BYTES", 4 << 20)
    long = citation(2, abstract="x" * (9 << 20))
    records, log = read(tmp_path, article_set(citation(1), long, citation(3)))
    assert [r.pmid for r in records] == [1, 3]
    assert log.counts["damaged_record"] == 1
    assert "longer than 4 MiB" in log.problems[0]


def test_deep_nesting_costs_its_record_only(tmp_path: Path) -> None:
    deep = citation(2, title="<i>" * 5000 + "x" + "</i>" * 5000)
    records, log = read(tmp_path, article_set(deep, citation(3)))
    assert [r.pmid for r in records] == [3]
    assert log.counts["damaged_record"] == 1


# -- properties ----------------------------------------------------------------------------------

_words = st.lists(st.sampled_from(["cell", "IL-6", "β", "5%", "(n = 3)"]), max_size=6)


@settings(max_examples=60, deadline=None)
@given(
    texts=st.lists(_words.map(" ".join), max_size=8),
    cut=st.floats(0, 1),
    between=st.sampled_from(["", "\n", " \n  ", "<!-- x -->"]),
)
@example(texts=["", ""], cut=14.5 / 395, between="")  # ends with "<PubmedArticle", a root's name
def test_a_cut_file_gives_a_prefix(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], cut: float, between: str
) -> None:
    """Whatever the place of the cut, what is read is the beginning of what was written."""
    path = tmp_path_factory.mktemp("cut") / "file.xml"
    parts = [citation(i + 1, abstract=text) for i, text in enumerate(texts)]
    document = article_set(*(part + between for part in parts)).encode()
    path.write_bytes(document[: int(cut * len(document))])
    records: list[Record | Deletion] = []
    try:
        records.extend(read_pubmed(path))
        whole = True
    except UserError:
        whole = False
    assert [(r.pmid, r.text) for r in records] == [
        (i + 1, text) for i, text in enumerate(texts[: len(records)])
    ]
    assert not whole or len(records) == len(texts)
