"""Files made to do harm, and a disk that is full: an error or a count, never a crash."""

import errno
import gzip
import io
import json
import os
import tarfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from data_preprocessing import byte_streams, write_hdf5
from data_preprocessing.__main__ import main
from data_preprocessing.fetch import check_package
from data_preprocessing.parse import parse_files
from data_preprocessing.records import read_parquet

ABSTRACT = "<Abstract><AbstractText>{}</AbstractText></Abstract>"


def citation(pmid: int, text: str) -> str:
    return (
        f"<PubmedArticle><MedlineCitation><PMID>{pmid}</PMID><Article><ArticleTitle>T"
        f"</ArticleTitle>{ABSTRACT.format(text)}</Article></MedlineCitation></PubmedArticle>"
    )


def pubmed(*citations: str) -> bytes:
    return f"<PubmedArticleSet>{''.join(citations)}</PubmedArticleSet>".encode()


def parse(folder: Path, content: bytes, name: str = "a.xml") -> tuple[list[int | None], dict]:
    (folder / "in").mkdir(exist_ok=True)
    (folder / "in" / name).write_bytes(content)
    totals = parse_files([folder / "in"], folder / "out")
    (parquet,) = (folder / "out").glob("*.parquet")
    return [record.pmid for record in read_parquet(parquet)], totals


def test_a_hundred_megabytes_on_one_line(tmp_path: Path) -> None:
    """All of them one record: it is too long, and the ones around it stay."""
    content = pubmed(citation(1, "a"), citation(2, "b " * (50 << 20)), citation(3, "c"))
    assert b"\n" not in content
    pmids, totals = parse(tmp_path, content)
    assert pmids == [1, 3]
    assert totals["damaged_record"] == 1


def test_many_records_on_one_line(tmp_path: Path) -> None:
    pmids, totals = parse(tmp_path, pubmed(*(citation(i, "x " * 5000) for i in range(1, 1001))))
    assert pmids == list(range(1, 1001))
    assert totals["damaged_record"] == 0


def test_text_that_is_not_utf8(tmp_path: Path) -> None:
    bad = citation(2, "b").encode().replace(b">b<", b">\xff\xfe\xc3(<")
    content = pubmed(citation(1, "a"), "@", citation(3, "c")).replace(b"@", bad)
    pmids, totals = parse(tmp_path, content)
    assert pmids == [1, 3]
    assert totals["damaged_record"] == 1


def test_gzip_bomb(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(byte_streams, "FREE_EXPANSION", 1 << 20)
    bomb = gzip.compress(pubmed(citation(1, "a"), " " * (40 << 20)))
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.xml.gz").write_bytes(bomb)
    (tmp_path / "in" / "b.xml").write_bytes(pubmed(citation(2, "b")))
    assert main(["parse", str(tmp_path / "in"), "-o", str(tmp_path / "out")]) == 2
    assert "refused as a decompression bomb" in capsys.readouterr().err
    records = [
        r.pmid for p in sorted((tmp_path / "out").glob("*.parquet")) for r in read_parquet(p)
    ]
    assert records == [1, 2]


def test_archive_members_that_point_elsewhere(tmp_path: Path) -> None:
    article = (
        b"<article><front><article-meta><article-id pub-id-type='pmc'>7</article-id>"
        b"</article-meta></front><body><p>x</p></body></article>"
    )
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name in ("../PMC1.xml", "/tmp/PMC2.xml", "a/../../PMC3.xml", "good/PMC7.xml"):
            info = tarfile.TarInfo(name)
            info.size = len(article)
            archive.addfile(info, io.BytesIO(article))
        for kind, name in ((tarfile.SYMTYPE, "PMC4.xml"), (tarfile.LNKTYPE, "PMC5.xml")):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
        info = tarfile.TarInfo("PMC6.xml")
        info.type = tarfile.FIFOTYPE
        archive.addfile(info)
    _, totals = parse(tmp_path, buffer.getvalue(), "a.tar.gz")
    assert (totals["records"], totals["members"]["unsafe"]) == (1, 6)
    assert {p.name for p in tmp_path.iterdir()} == {"in", "out"}
    check_package(tmp_path / "in" / "a.tar.gz", [1, 2, 3, 7])  # names alone: nothing is unpacked


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    """Of a file and of what lies in an archive; both come back from counts.json as they were."""
    folder = tmp_path / "in"
    folder.mkdir()
    name = os.fsdecode(b"caf\xe9")
    (folder / f"{name}.xml").write_bytes(pubmed(citation(1, "a")))
    with tarfile.open(
        folder / "b.tar", "w", format=tarfile.GNU_FORMAT, encoding="latin-1"
    ) as archive:
        member = tarfile.TarInfo("caf\xe9.xml")
        member.size = len(b"<html/>")
        archive.addfile(member, io.BytesIO(b"<html/>"))
    assert parse_files([folder], tmp_path / "out")["records"] == 1
    archived, plain = json.loads((tmp_path / "out" / "counts.json").read_text())["files"]
    assert archived["problems"] == [f"b.tar: {name}.xml: not a JATS article"]
    assert plain["input"] == f"{name}.xml"


@pytest.mark.parametrize("stage", ["parse", "merge", "pack"])
def test_full_disk(
    tmp_path: Path,
    stage: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The stage says so in one line; then, with room, it works, and nothing half is left."""
    work = str(tmp_path / "work")
    before = {
        "parse": [],
        "merge": ["parse"],
        "pack": ["parse", "merge", "tokenizer"],
    }
    commands = {
        "parse": ["parse", f"{work}/sample", "-o", f"{work}/parsed"],
        "merge": ["merge", f"{work}/parsed", "-o", f"{work}/merged"],
        "tokenizer": ["tokenizer", f"{work}/merged", "-o", f"{work}/t.json", "--vocab_size", "300"],
        "pack": ["pack", f"{work}/merged", "-t", f"{work}/t.json", "-o", f"{work}/packed"],
    }
    commands["pack"] += ["--max_sequence_length", "16"]
    Path(work, "sample").mkdir(parents=True)
    content = pubmed(*(citation(i, f"word{i} " * 50) for i in range(1, 60)))
    Path(work, "sample", "a.xml").write_bytes(content)
    for name in before[stage]:
        assert main(commands[name]) == 0

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        if stage == "pack":
            patched.setattr(write_hdf5.h5py, "File", full)
        else:
            patched.setattr(pq.ParquetWriter, "write_table", full)
        assert main(commands[stage]) == 2
    out = Path(commands[stage][commands[stage].index("-o") + 1])
    assert f"error: {out}: no space left on the disk\n" in capsys.readouterr().err
    assert not [p for p in out.rglob("*") if p.suffix in (".parquet", ".h5")]
    assert main(commands[stage]) == 0
