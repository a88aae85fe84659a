import csv
import gzip
import io
import re
import tarfile
from collections import Counter
from pathlib import Path

import pytest

from data_preprocessing.pmc_jats import filelist_of, read_filelist, read_jats, read_jats_tar
from data_preprocessing.records import PMC_FULLTEXT, RETRACTED, Record
from data_preprocessing.xml_reading import ReadLog
from modelzoo_mediswift.errors import UserError

NAMESPACES = (
    'xmlns:xlink="http://www.w3.org/1999/xlink" xmlns:mml="http://www.w3.org/1998/Math/MathML"'
)
DOCTYPE = (
    '<!DOCTYPE article PUBLIC "-//NLM//DTD JATS (Z39.96) v1.0//EN" "JATS-archivearticle1.dtd">\n'
)


def article(
    pmcid: int | None = 1, pmid: int | None = 2, body: str = "<p>Body.</p>", attributes: str = ""
) -> str:
    ids = "".join(
        f'<article-id pub-id-type="{kind}">{value}</article-id>'
        for kind, value in (("pmid", pmid), ("pmc", pmcid))
        if value is not None
    )
    return (
        f'<article {NAMESPACES} article-type="research-article" {attributes}><front><article-meta>'
        f"{ids}<title-group><article-title>Title {pmcid}</article-title></title-group>"
        '<pub-date pub-type="epub"><year>2010</year></pub-date><permissions><license '
        'xlink:href="http://creativecommons.org/licenses/by/4.0/"/></permissions></article-meta>'
        f"</front><body>{body}</body></article>"
    )


def read(path: Path, content: str | bytes) -> tuple[list[Record], ReadLog]:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    log = ReadLog()
    return list(read_jats(path, log)), log


def make_tar(path: Path, members: dict[str, bytes], mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


# -- single files --------------------------------------------------------------------------------


def test_every_field_of_a_record(tmp_path: Path) -> None:
    (record,), log = read(tmp_path / "a.nxml", DOCTYPE + article(pmcid=123, pmid=456))
    assert record == Record(
        pmid=456,
        pmcid=123,
        title="Title 123",
        text="Body.",
        source=PMC_FULLTEXT,
        licence="CC-BY",
        year=2010,
        language="eng",
        publication_types=["research-article"],
    )
    assert log.counts == {
        "records": 1,
        "paragraphs.in": 1,
        "paragraphs.out": 1,
    }


def test_pmcid_is_taken_from_the_file_name_if_the_article_lacks_it(tmp_path: Path) -> None:
    (record,), _ = read(tmp_path / "PMC777.xml", article(pmcid=None, pmid=None))
    assert (record.pmid, record.pmcid) == (None, 777)
    (record,), _ = read(tmp_path / "unnamed.xml", article(pmcid=None, pmid=None))
    assert (record.pmid, record.pmcid) == (None, None)


def test_entities_that_only_the_document_type_defines(tmp_path: Path) -> None:
    body = "<p>&lsqb;5&percnt;&rsqb; &alpha;&plus;&nbsp;&agr; &unknown;&lt;x&amp;y</p>"
    (record,), log = read(tmp_path / "a.nxml", DOCTYPE + article(body=body))
    assert record.text == "[5%] α+ α <x&y"
    assert log.counts["unknown_entity"] == 1
    assert "damaged_record" not in log.counts


def test_article_set_keeps_the_articles_around_a_damaged_one(tmp_path: Path) -> None:
    broken = article(2).replace("</body>", "")
    document = f"<pmc-articleset>{article(1)}{broken}{article(3)}</pmc-articleset>"
    records, log = read(tmp_path / "set.xml", document)
    assert [r.pmcid for r in records] == [1, 3]
    assert log.counts["damaged_record"] == 1
    assert log.problems[0].startswith("set.xml: ")


def test_namespaced_article_of_the_oai_service(tmp_path: Path) -> None:
    jats = 'xmlns="https://jats.nlm.nih.gov/ns/archiving/1.3/"'
    body = "<sec><title>T</title><p>x <mml:math><mml:mi>y</mml:mi></mml:math></p></sec>"
    document = (
        '<OAI-PMH xmlns="http://www.openarchives.org/OAI/2.0/"><record><metadata>'
        + article(body=body, attributes=jats)
        + "</metadata></record></OAI-PMH>"
    )
    (record,), _ = read(tmp_path / "oai.xml", document)
    assert (record.pmcid, record.title, record.text) == (1, "Title 1", "T\nx y")


def test_article_without_front_or_body(tmp_path: Path) -> None:
    (record,), log = read(tmp_path / "a.nxml", "<article><front/></article>")
    assert (record.title, record.text, record.licence) == ("", "", None)
    assert log.counts["without_text"] == 1


def test_truncated_article_and_other_files(tmp_path: Path) -> None:
    path = tmp_path / "a.nxml"
    path.write_text(article()[:-30])
    with pytest.raises(UserError, match=r"a\.nxml: truncated: it ends inside a <article>"):
        list(read_jats(path))
    path.write_text("<html/>")
    with pytest.raises(UserError, match="root element html; expected one of article"):
        list(read_jats(path))


def test_gzip_and_encodings(tmp_path: Path) -> None:
    document = '<?xml version="1.0" encoding="{}"?>' + article(body="<p>Café</p>")
    (record,), _ = read(tmp_path / "a.nxml", document.format("latin-1").encode("latin-1"))
    assert record.text == "Café"
    (record,), _ = read(tmp_path / "a.gz", gzip.compress(document.format("utf-8").encode()))
    assert record.text == "Café"


def test_entity_bomb_is_not_expanded(tmp_path: Path) -> None:
    bomb = (
        '<!DOCTYPE article [<!ENTITY a "ha"><!ENTITY b "&a;&a;"><!ENTITY c SYSTEM "/etc/passwd">]>'
    )
    (record,), log = read(tmp_path / "a.nxml", bomb + article(body="<p>x &b; &c; y</p>"))
    assert record.text == "x y"
    assert log.counts["unknown_entity"] == 2


def test_too_deep_nesting_costs_the_article_only(tmp_path: Path) -> None:
    """Both sides of the parser's own limit."""
    for depth in (80, 120, 5000):
        deep = article(1, body="<sec>" * depth + "<p>x</p>" + "</sec>" * depth)
        document = f"<pmc-articleset>{deep}{article(2)}</pmc-articleset>"
        records, log = read(tmp_path / "deep.xml", document)
        assert records[-1].pmcid == 2
        assert len(records) + log.counts["damaged_record"] == 2


# -- archives ------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["w:gz", "w"])
def test_archive_in_its_own_order(tmp_path: Path, mode: str) -> None:
    members = {f"PMC00/PMC{i}.xml": article(i).encode() for i in (5, 3, 9)}
    path = make_tar(tmp_path / "a.tar.gz", {**members, "PMC00/notes.txt": b"x"}, mode)
    log = ReadLog()
    assert [r.pmcid for r in read_jats_tar(path, log)] == [5, 3, 9]
    assert log.counts["members.other"] == 1


def test_encodings_in_an_archive(tmp_path: Path) -> None:
    declared = '<?xml version="1.0" encoding="{}"?>' + article(body="<p>Café</p>")
    several = '<?xml version="1.0" encoding="{}"?>' + f"<pmc-articleset>{article(1)}{article(2)}"
    members = {
        f"{encoding}{number}.xml": (document.format(encoding) + end).encode(encoding)
        for encoding in ("utf-8", "utf-16", "latin-1", "utf-16-le", "utf-16-be")
        for number, (document, end) in enumerate([(declared, ""), (several, "</pmc-articleset>")])
    }
    log = ReadLog()
    texts = [r.text for r in read_jats_tar(make_tar(tmp_path / "a.tar.gz", members), log)]
    assert texts[0::3] == ["Café"] * 5
    assert (len(texts), log.problems) == (15, [])


@pytest.mark.parametrize("encoding", ["utf-16", "UTF-16LE", "utf-32", "no-such"])
def test_a_declaration_that_stayed_when_the_file_was_converted(
    tmp_path: Path, encoding: str
) -> None:
    document = f'<?xml version="1.0" encoding="{encoding}"?>' + article(body="<p>Café</p>")
    log = ReadLog()
    path = make_tar(tmp_path / "a.tar.gz", {"a.xml": document.encode()})
    assert [r.text for r in read_jats_tar(path, log)] == ["Café"]
    assert log.problems == []


def test_unsafe_members_are_skipped_and_nothing_is_extracted(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    data = article(7).encode()
    with tarfile.open(path, "w") as archive:
        for name in ("../up.xml", "/abs.xml", "a/../../b.xml"):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for name, kind in (("s.xml", tarfile.SYMTYPE), ("h.xml", tarfile.LNKTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
        fifo = tarfile.TarInfo("f.xml")
        fifo.type = tarfile.FIFOTYPE
        archive.addfile(fifo)
        folder = tarfile.TarInfo("folder")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        info = tarfile.TarInfo("folder/PMC7.xml")
        info.size = len(data)
        archive.addfile(info, io.BytesIO(data))
    log = ReadLog()
    assert [r.pmcid for r in read_jats_tar(path, log)] == [7]
    assert log.counts["members.unsafe"] == 6
    assert list(tmp_path.rglob("*")) == [path]


def test_damage_in_an_archive(tmp_path: Path) -> None:
    members = {
        "PMC1.xml": article(1).encode(),
        "PMC2.xml": article(2).encode()[:-40],
        "PMC3.xml": b"<html/>",
        "PMC4.xml": article(4).encode().replace(b"Body", b"\xff"),
        "PMC5.xml": b"",
        "PMC6.xml": article(6).encode(),
    }
    log = ReadLog()
    path = make_tar(tmp_path / "a.tar.gz", members)
    assert [r.pmcid for r in read_jats_tar(path, log)] == [1, 6]
    assert log.counts["damaged_record"] == 4
    assert len(log.problems) == 4


@pytest.mark.parametrize("compressed", [True, False])
def test_truncated_archive_gives_what_was_before(tmp_path: Path, compressed: bool) -> None:
    members = {
        f"PMC{i}.xml": article(i, body=f"<p>{i * 7919}</p>" * 99).encode() for i in range(1, 200)
    }
    path = make_tar(tmp_path / "a.tar.gz", members, "w:gz" if compressed else "w")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    records: list[Record] = []
    with pytest.raises(UserError, match=r"a\.tar\.gz: .*truncated"):
        records.extend(read_jats_tar(path))
    assert [r.pmcid for r in records] == list(range(1, len(records) + 1))
    assert len(records) > 50


def test_member_that_is_too_long_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("data_preprocessing.pmc_jats.MAX_RECORD_BYTES", 5000)
    members = {
        "PMC1.xml": article(1, body="<p>x</p>" * 5000).encode(),
        "PMC2.xml": article(2).encode(),
    }
    log = ReadLog()
    assert [r.pmcid for r in read_jats_tar(make_tar(tmp_path / "a.tgz", members), log)] == [2]
    assert log.counts["members.too_long"] == 1


def test_file_list_overrides_licence_and_supplies_the_rest(tmp_path: Path) -> None:
    members = {f"PMC{i}.xml": article(i, pmid=None).encode() for i in (1, 2, 3)}
    path = make_tar(tmp_path / "oa_comm_xml.PMC000xxxxxx.baseline.2024-01-01.tar.gz", members)
    assert filelist_of(path).name == "oa_comm_xml.PMC000xxxxxx.baseline.2024-01-01.filelist.csv"
    filelist_of(path).write_text(
        "Article File,Article Citation,AccessionID,PMID,License,Retracted\n"
        'PMC1.xml,"A, b",PMC1,55,CC BY-NC,no\n'
        "PMC2.xml,c,PMC2,0,NO-CC CODE,yes\n"
    )
    first, second, third = read_jats_tar(path)
    assert (first.pmid, first.licence, first.publication_types[1:]) == (55, "CC-BY-NC", [])
    assert (second.pmid, second.licence, second.publication_types[1:]) == (
        None,
        "CC-BY",
        [RETRACTED],
    )
    assert (third.pmid, third.licence, third.publication_types[1:]) == (None, "CC-BY", [])


def test_file_list_without_its_columns_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.filelist.csv"
    path.write_text("File,PMID\n")
    with pytest.raises(UserError, match="no column AccessionID, License"):
        read_filelist(path)
    assert read_filelist(tmp_path / "none.csv") == {}


# -- real files ----------------------------------------------------------------------------------


@pytest.mark.real_data
def test_real_articles_lose_no_paragraph(real_data: Path) -> None:
    """Paragraphs, identifiers and licences against counts made without an XML parser."""
    folder = real_data / "pmc_jats"
    with (folder / "articles.csv").open() as handle:
        rows = {row["file"]: row for row in csv.DictReader(handle)}
    assert len(rows) == 133
    for name, row in rows.items():
        log = ReadLog()
        (record,) = read_jats(folder / "articles" / name, log)
        raw = (folder / "articles" / name).read_text()
        assert not log.problems
        dropped = sum(n for key, n in log.counts.items() if key.startswith("paragraphs.dropped."))
        assert log.counts["paragraphs.in"] == log.counts["paragraphs.out"] + dropped
        assert log.counts["paragraphs.in"] == len(re.findall(r"<p[ >/]", raw))
        assert (str(record.pmid or ""), str(record.pmcid)) == (row["pmid"], row["pmc"])
        if record.licence is not None:
            assert record.licence in row["lic"]
        assert record.text or (row["has_abs"], row["has_body"]) == ("False", "False")


@pytest.mark.real_data
def test_real_words_against_a_reading_without_a_parser(real_data: Path) -> None:
    """Strip by regular expressions what the rules drop; all other words must be in the text."""
    dropped = (
        "table-wrap-group|table-wrap|fig-group|fig|supplementary-material|media|fn-group|fn|"
        "ref-list|inline-formula|disp-formula|mml:math|tex-math|graphic|inline-graphic|array"
    )
    inline = "italic|bold|sup|sub|sc|xref|ext-link|underline|named-content|styled-content|email|uri"
    element = re.compile(rf"<({dropped})(?=[\s>])(?:(?!<\1[\s>]).)*?</\1>", re.DOTALL)
    missing: Counter[str] = Counter()
    total = 0
    for path in sorted((real_data / "pmc_jats" / "articles").iterdir())[::3]:
        raw = path.read_text()
        body = re.search(r"<body[ >].*?</body>", raw, re.DOTALL)
        text = re.sub(rf"<({dropped})(?:\s[^>]*)?/>", "", body[0]) if body else ""
        while (shorter := element.sub(" ", text)) != text:
            text = shorter
        text = re.sub(rf"</?(?:{inline})(?=[\s>/])[^>]*>", "", text)
        text = re.sub(r"&#x([0-9a-fA-F]+);", lambda m: chr(int(m[1], 16)), text)
        words = re.findall(r"[^\W\d_]{3,}", re.sub(r"<[^>]*>", " ", text))
        (record,) = read_jats(path)
        missing += Counter(words) - Counter(re.findall(r"[^\W\d_]{3,}", record.text))
        total += len(words)
    assert total > 100_000
    assert missing.total() < total / 5000, missing.most_common(20)
