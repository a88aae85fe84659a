import gzip
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

from data_preprocessing.parse import find_files, kind_of, parse_files
from data_preprocessing.records import read_parquet
from modelzoo_mediswift.errors import UserError


def citation(pmid: int, text: str = "") -> str:
    abstract = f"<Abstract><AbstractText>{text}</AbstractText></Abstract>" if text else ""
    return (
        f"<PubmedArticle><MedlineCitation><PMID>{pmid}</PMID><Article><ArticleTitle>T{pmid}"
        f"</ArticleTitle>{abstract}</Article></MedlineCitation></PubmedArticle>"
    )


def pubmed(*parts: str) -> bytes:
    return f"<PubmedArticleSet>{''.join(parts)}</PubmedArticleSet>".encode()


def jats(pmcid: int) -> bytes:
    return (
        "<article><front><article-meta><article-id pub-id-type='pmc'>"
        f"{pmcid}</article-id></article-meta></front><body><p>Text {pmcid}.</p>"
        "<table-wrap><caption><p>x</p></caption></table-wrap></body></article>"
    ).encode()


def tar(*pmcids: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for pmcid in pmcids:
            info = tarfile.TarInfo(f"PMC000/PMC{pmcid}.xml")
            info.size = len(jats(pmcid))
            archive.addfile(info, io.BytesIO(jats(pmcid)))
    return buffer.getvalue()


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    (folder / "pubmed").mkdir(parents=True)
    (folder / "pmc").mkdir()
    deletion = "<DeleteCitation><PMID>1</PMID></DeleteCitation>"
    (folder / "pubmed" / "n0002.xml.gz").write_bytes(
        gzip.compress(pubmed(citation(3), deletion, citation(4, "Four.")))
    )
    (folder / "pubmed" / "n0001.xml").write_bytes(pubmed(citation(1, "One."), citation(2)))
    (folder / "pmc" / "PMC10.nxml").write_bytes(jats(10))
    (folder / "pmc" / "oa.tar.gz").write_bytes(tar(11, 12))
    (folder / "pmc" / "oa.filelist.csv").write_text("AccessionID,License\nPMC12,CC0\n")
    return folder


def digests(folder: Path) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.iterdir())
    }


def test_one_parquet_file_per_input_in_file_order(inputs: Path, tmp_path: Path) -> None:
    totals = parse_files([inputs], tmp_path / "out")
    found = {
        path.name: [record.document_id for record in read_parquet(path)]
        for path in sorted((tmp_path / "out").glob("*.parquet"))
    }
    assert found == {
        "00000-PMC10.parquet": ["PMC10"],
        "00001-n0001.parquet": ["PMID:1", "PMID:2"],
        "00002-n0002.parquet": ["PMID:3", "PMID:4"],
        "00003-oa.parquet": ["PMC11", "PMC12"],
    }
    assert totals == {
        "files": 4,
        "files_with_errors": 0,
        "records": 7,
        "deletions": 1,
        "damaged_record": 0,
        "paragraphs": {"in": 6, "out": 3, "dropped": {"table": 3}},
        "without_abstract": 2,
    }
    counts = json.loads((tmp_path / "out" / "counts.json").read_text())
    assert counts["totals"] == totals
    assert [file["kind"] for file in counts["files"]] == ["jats", "pubmed", "pubmed", "jats_tar"]
    assert counts["files"][2]["counts"] == {"deletions": 1, "records": 2, "without_abstract": 1}
    *_, last = read_parquet(tmp_path / "out" / "00003-oa.parquet")
    assert last.licence == "CC0"


def test_bytes_do_not_depend_on_the_number_of_workers(inputs: Path, tmp_path: Path) -> None:
    parse_files([inputs], tmp_path / "one", workers=1)
    parse_files([inputs / "pmc", inputs / "pubmed"], tmp_path / "two", workers=2)
    assert digests(tmp_path / "one") == digests(tmp_path / "two")


def test_files_already_parsed_are_kept(inputs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    parse_files([inputs], out)
    before = {path.name: path.stat().st_mtime_ns for path in out.glob("*.parquet")}
    expected = digests(out)

    (inputs / "pubmed" / "n0001.xml").touch()  # another date, the same bytes
    parse_files([inputs], out)
    assert {path.name: path.stat().st_mtime_ns for path in out.glob("*.parquet")} == before

    (inputs / "pubmed" / "n0001.xml").write_bytes(pubmed(citation(8, "Eight.")))
    (inputs / "pmc" / "oa.filelist.csv").write_text("AccessionID,License\nPMC12,CC BY\n")
    (out / "00000-PMC10.parquet").write_bytes(b"damaged")
    parse_files([inputs], out)
    after = digests(out)
    changed = {name for name in expected if after[name] != expected[name]}
    assert changed == {"00001-n0001.parquet", "00003-oa.parquet", "counts.json"}
    assert [r.pmid for r in read_parquet(out / "00001-n0001.parquet")] == [8]


def test_outputs_of_other_inputs_are_removed(inputs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    parse_files([inputs], out)
    (out / "12345-mine.parquet").write_bytes(b"not from parse")
    parse_files([inputs / "pubmed"], out)
    assert sorted(path.name for path in out.glob("*.parquet")) == [
        "00000-n0001.parquet",
        "00001-n0002.parquet",
        "12345-mine.parquet",
    ]


def test_a_damaged_file_costs_only_itself(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    whole = pubmed(citation(1, "One."), citation(2, "Two."))
    (folder / "a.xml").write_bytes(b"")
    (folder / "b.xml").write_bytes(b"<html><body/></html>")
    (folder / "c.xml").write_bytes(whole[:-60])
    (folder / "d.xml.gz").write_bytes(b"\x1f\x8bno gzip at all, only its first bytes")
    (folder / "e.xml").write_bytes(pubmed(citation(3), "<PubmedArticle><b></PubmedArticle>"))
    (folder / "f.tar.gz").write_bytes(tar(1, 2)[:150])
    (folder / "g.xml").write_bytes(whole)
    totals = parse_files([folder], tmp_path / "out")
    assert (totals["files"], totals["files_with_errors"]) == (7, 5)
    files = json.loads((tmp_path / "out" / "counts.json").read_text())["files"]
    errors = {file["input"]: file["error"] for file in files}
    assert errors["a.xml"] == "a.xml: the file is empty"
    assert errors["b.xml"] == "b.xml: neither PubMed XML nor JATS: its root element is <html>"
    assert errors["c.xml"] == "c.xml: truncated: it ends inside a <PubmedArticle>"
    assert errors["d.xml.gz"].startswith("d.xml.gz: the gzip file is damaged")
    assert errors["e.xml"] is None
    assert "f.tar.gz" in errors["f.tar.gz"]
    assert errors["g.xml"] is None
    records = {file["input"]: file["counts"].get("records", 0) for file in files}
    assert (records["c.xml"], records["e.xml"], records["g.xml"]) == (1, 1, 2)
    assert totals["damaged_record"] == 2


def test_file_order_goes_by_name_and_numbers_by_value(tmp_path: Path) -> None:
    names = ["updatefiles/p24n10.xml", "baseline/p24n9.xml", "updatefiles/p24n0100.xml"]
    for name in [*names, "baseline/.hidden.xml", "baseline/p24n9.xml.md5"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    found = find_files([tmp_path / "updatefiles", tmp_path, tmp_path / "baseline" / "p24n9.xml"])
    assert [path.name for path in found] == ["p24n9.xml", "p24n10.xml", "p24n0100.xml"]
    (tmp_path / "²1.xml").write_text("x")  # a digit to str.isdigit, but no number to int
    assert len(find_files([tmp_path])) == 4


def test_inputs_that_are_not_there_or_not_ours(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere: no such file or folder"):
        parse_files([tmp_path / "nowhere"], tmp_path / "out")
    with pytest.raises(UserError, match=r"no file ending in \.xml"):
        parse_files([tmp_path], tmp_path / "out")
    (tmp_path / "a.pdf").write_bytes(b"%PDF")
    with pytest.raises(UserError, match=r"a\.pdf: expected a name ending in \.xml, \.xml\.gz"):
        parse_files([tmp_path / "a.pdf"], tmp_path / "out")


def test_kind_is_told_by_content(tmp_path: Path) -> None:
    path = tmp_path / "x.xml"
    kinds = []
    for content in (pubmed(), jats(1), gzip.compress(jats(1)), tar(1), gzip.decompress(tar(1))):
        path.write_bytes(content)
        kinds.append(kind_of(path))
    assert kinds == ["pubmed", "jats", "jats", "jats_tar", "jats_tar"]


@pytest.mark.parametrize("delay", [0.0, 0.1, 0.3])
def test_killed_and_run_again_gives_the_same_bytes(tmp_path: Path, delay: float) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(8):
        citations = [citation(number * 1000 + i + 1, f"word{i} " * 200) for i in range(900)]
        (folder / f"n{number}.xml").write_bytes(pubmed(*citations))
    out = tmp_path / "out"
    code = (
        "import sys; from pathlib import Path; from data_preprocessing.parse import parse_files; "
        "print('started', flush=True); parse_files([Path(sys.argv[1])], Path(sys.argv[2]))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(folder), str(out)], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(delay)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    for path in out.glob("*.parquet"):  # what bears its name is whole
        assert len(list(read_parquet(path))) == 900
    parse_files([folder], out)
    parse_files([folder], tmp_path / "straight")
    expected = digests(tmp_path / "straight")
    assert {name: digests(out)[name] for name in expected} == expected


@pytest.mark.real_data
def test_real_corpus(real_data: Path, tmp_path: Path) -> None:
    totals = parse_files([real_data / "pubmed_xml", real_data / "pmc_jats" / "articles"], tmp_path)
    assert (totals["files"], totals["files_with_errors"]) == (195, 0)
    assert totals["records"] == 399 + 133
    assert totals["damaged_record"] == 0
    paragraphs = totals["paragraphs"]
    assert paragraphs["in"] == paragraphs["out"] + sum(paragraphs["dropped"].values())


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.xml")
    with pytest.raises(UserError, match=r"a\.xml: neither a file nor a folder"):
        parse_files([tmp_path / "a.xml"], tmp_path / "out")
