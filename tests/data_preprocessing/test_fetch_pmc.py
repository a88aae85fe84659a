"""`fetch_pmc` against a bucket on loopback that breaks off, lies, and lacks what it lists."""

import hashlib
import json
import random
import resource
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pmc_bucket import INVENTORY, add, md5, remove, take_inventory
from unreliable_server import BucketHandler, Server, serving

from data_preprocessing.__main__ import main
from data_preprocessing.download import Patience
from data_preprocessing.fetch_pmc import fetch_pmc
from data_preprocessing.only_one import only_one
from data_preprocessing.parse import parse_files
from data_preprocessing.pmc_inventory import mark_of
from data_preprocessing.records import read_parquet
from modelzoo_mediswift.errors import UserError

MONDAY, TUESDAY = "2026-11-16T01-00Z", "2026-11-17T01-00Z"
FIRST = "pmc_comm.PMC00001xxxx.tar.gz"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """Two ranges: 10,000 (comm: 3, noncomm: 1, other: 1, not taken: 2) and 20,000 (comm: 1)."""
    root = tmp_path / "bucket"
    for pmcid in (10_001, 10_003, 19_999, 20_000):
        add(root, pmcid)
    add(root, 10_002, license_code="CC BY-NC-ND")
    add(root, 10_004, license_code=None)
    add(root, 10_005, license_code="TDM", is_pmc_openaccess=False)
    add(root, 10_006, license_code="CC0", is_historical_ocr=True)
    take_inventory(root, MONDAY)
    with serving(root, BucketHandler) as running:
        yield running


def fetch(server: Server, out: Path, *groups: str, **options: Any) -> dict[str, Any]:
    options = {
        "timeout": 0.5,
        "connections": 3,
        "patience": Patience(retries=3, pause=0.001),
        **options,
    }
    return fetch_pmc(out, groups or ("comm", "noncomm", "other"), base_url=server.url, **options)


def articles(package: Path) -> dict[str, bytes]:
    with tarfile.open(package) as archive:
        return {
            member.name.rpartition("/")[2]: archive.extractfile(member).read()  # type: ignore[union-attr]
            for member in archive
        }


def products(out: Path) -> dict[str, str]:
    return {
        str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.name[0] != "." and path.name != "changes.csv"
    }


def changes(out: Path) -> list[str]:
    path = out / "changes.csv"
    return path.read_text().splitlines()[1:] if path.exists() else []


def test_packages_by_licence_and_range(server: Server, tmp_path: Path) -> None:
    out = tmp_path / "out"
    told = fetch(server, out)
    assert [path.name for path in told["files"]] == [
        FIRST,
        "pmc_noncomm.PMC00001xxxx.tar.gz",
        "pmc_other.PMC00001xxxx.tar.gz",
        "pmc_comm.PMC00002xxxx.tar.gz",
    ]
    assert list(articles(out / FIRST)) == ["PMC10001.xml", "PMC10003.xml", "PMC19999.xml"]
    original = server.root / "PMC10003.1" / "PMC10003.1.xml"
    assert articles(out / FIRST)["PMC10003.xml"] == original.read_bytes()
    assert told["left_out"] == {"historical_ocr": 1, "not_open_access": 1}
    assert (told["listed"], told["articles"], told["new"]) == (8, 6, 6)
    assert told["gone"] == told["failed"] == {}
    assert "PMC10005.1/PMC10005.1.xml" not in server.asked()


def test_parse_reads_them_with_licence_and_retraction(server: Server, tmp_path: Path) -> None:
    add(server.root, 10_003, license_code="CC BY-SA", is_retracted=True)
    take_inventory(server.root, MONDAY)
    files = fetch(server, tmp_path / "out", "comm", packages=1)["files"]
    totals = parse_files(files, tmp_path / "parsed")
    assert (totals["records"], totals["files_with_errors"]) == (3, 0)
    (parquet,) = (tmp_path / "parsed").glob("*.parquet")
    records = {record.pmcid: record for record in read_parquet(parquet)}
    assert records[10_001].licence == "CC-BY"
    assert records[10_001].pmid == 30_010_001
    assert records[10_003].licence == "CC-BY-SA"
    assert "Retracted Publication" in records[10_003].publication_types
    assert "text of version 1" in records[19_999].text


@pytest.mark.real_data
def test_real_articles_come_through_whole(real_data: Path, tmp_path: Path) -> None:
    for path in sorted((real_data / "pmc_jats" / "articles").glob("PMC*")):
        add(tmp_path / "bucket", int(path.stem[3:]), xml=path.read_bytes(), pmid=None)
    take_inventory(tmp_path / "bucket", MONDAY)
    files = fetch_pmc(tmp_path / "out", base_url=str(tmp_path / "bucket"))["files"]
    given = [real_data / "pmc_jats" / "articles"]
    texts = []
    for name, inputs in (("given", given), ("packed", files)):
        parse_files(inputs, tmp_path / name)
        records = [r for p in (tmp_path / name).glob("*.parquet") for r in read_parquet(p)]
        texts.append({r.pmcid: (r.title, r.text, r.pmid) for r in records})
    assert len(texts[0]) > 100
    assert texts[0] == texts[1]


def test_groups_scans_and_the_first_packages(server: Server, tmp_path: Path) -> None:
    told = fetch(server, tmp_path / "a", "comm", historical_ocr=True)
    assert len(articles(told["files"][0])) == 4
    told = fetch(server, tmp_path / "b", packages=2)
    assert [path.name.split(".")[0] for path in told["files"]] == ["pmc_comm", "pmc_noncomm"]
    assert "metadata/PMC20000.1.json" not in [path for path, _ in server.requests[-10:]]
    told = fetch(server, tmp_path / "c", start=25_000, packages=1)
    assert [path.name for path in told["files"]] == ["pmc_comm.PMC00002xxxx.tar.gz"]


def test_the_next_time_only_what_is_new(server: Server, tmp_path: Path) -> None:
    out = tmp_path / "out"
    fetch(server, out)
    before = products(out)
    server.requests.clear()
    told = fetch(server, out)
    assert (told["new"], told["revised"], told["withdrawn"]) == (0, 0, 0)
    asked = [path for path in server.asked() if "inventory" not in path]
    assert (asked, products(out), changes(out)) == ([], before, [])

    add(server.root, 10_001, version=2)
    add(server.root, 10_007)
    add(server.root, 20_000, license_code="CC BY-NC")
    remove(server.root, 10_003)
    take_inventory(server.root, TUESDAY)
    server.requests.clear()
    told = fetch(server, out)
    assert (told["new"], told["revised"], told["withdrawn"]) == (1, 2, 1)
    assert sorted(changes(out)) == [
        f"{TUESDAY},new,PMC10007.1,",
        f"{TUESDAY},revised,PMC10001.2,",
        f"{TUESDAY},revised,PMC20000.1,",
        f"{TUESDAY},withdrawn,PMC10003.1,",
    ]
    assert {path for path in server.asked() if path.endswith(".xml")} == {
        "PMC10001.2/PMC10001.2.xml",
        "PMC10007.1/PMC10007.1.xml",
        "PMC20000.1/PMC20000.1.xml",  # another group, another package
    }
    packed = articles(out / FIRST)
    assert list(packed) == ["PMC10001.xml", "PMC10007.xml", "PMC19999.xml"]
    assert b"version 2" in packed["PMC10001.xml"]
    assert not (out / "pmc_comm.PMC00002xxxx.tar.gz").exists()
    fetch(server, tmp_path / "anew")
    assert products(tmp_path / "anew") == products(out)


def test_a_range_that_is_withdrawn_altogether(server: Server, tmp_path: Path) -> None:
    out = tmp_path / "out"
    fetch(server, out)
    remove(server.root, 20_000)
    take_inventory(server.root, TUESDAY)
    with pytest.raises(UserError, match=r"lists 7 articles, that of .* 8: is it whole"):
        fetch(server, out)
    told = fetch(server, out, prune=True)
    assert told["withdrawn"] == 1
    assert not list(out.glob("*PMC00002xxxx*")) + list(out.glob("metadata/*PMC00002xxxx*"))


def test_listed_but_gone_is_named_not_fatal(server: Server, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (server.root / "PMC10003.1" / "PMC10003.1.xml").rename(tmp_path / "kept.xml")
    (server.root / "metadata" / "PMC20000.1.json").unlink()
    told = fetch(server, out)
    assert set(told["gone"]) == {"PMC10003.1", "PMC20000.1"}
    assert "404" in told["gone"]["PMC10003.1"]
    assert told["failed"] == {}
    assert list(articles(out / FIRST)) == ["PMC10001.xml", "PMC19999.xml"]
    assert server.asked()["PMC10003.1/PMC10003.1.xml"] == 1  # no use to ask again
    assert [line.split(",")[1:3] for line in changes(out)] == [
        ["gone", "PMC10003.1"],
        ["gone", "PMC20000.1"],
    ]

    before = products(out)
    assert set(fetch(server, out)["gone"]) == {"PMC10003.1", "PMC20000.1"}
    assert products(out) == before
    (tmp_path / "kept.xml").rename(server.root / "PMC10003.1" / "PMC10003.1.xml")
    assert set(fetch(server, out)["gone"]) == {"PMC20000.1"}
    assert list(articles(out / FIRST)) == ["PMC10001.xml", "PMC10003.xml", "PMC19999.xml"]


@pytest.mark.parametrize("fault", ["lie", "drop", "short", "503", "slow"])
def test_what_passes_is_tried_again(server: Server, tmp_path: Path, fault: str) -> None:
    fetch(server, tmp_path / "quiet")
    xml = "PMC10003.1/PMC10003.1.xml"
    manifest = f"{INVENTORY}/{MONDAY}/manifest.json"
    for path in (xml, "metadata/PMC10003.1.json", f"{INVENTORY}/data/{MONDAY}-1.csv.gz"):
        server.faults[path] = [fault]
    server.faults[manifest] = ["short" if fault == "lie" else fault]
    server.faults[f"list {INVENTORY}/"] = ["500"]
    server.requests.clear()
    told = fetch(server, tmp_path / "out")
    assert told["gone"] == told["failed"] == {}
    assert server.asked()[xml] == 2
    assert products(tmp_path / "out") == products(tmp_path / "quiet")


def test_a_wrong_checksum_costs_that_article(server: Server, tmp_path: Path) -> None:
    xml = server.root / "PMC10003.1" / "PMC10003.1.xml"
    xml.write_bytes(xml.read_bytes().replace(b"text", b"TEXT"))
    told = fetch(server, tmp_path / "out")
    assert list(told["failed"]) == ["PMC10003.1"]
    assert "twice the same" in told["failed"]["PMC10003.1"]
    assert server.asked()["PMC10003.1/PMC10003.1.xml"] == 2
    assert list(articles(tmp_path / "out" / FIRST)) == ["PMC10001.xml", "PMC19999.xml"]


def test_metadata_newer_than_the_inventory(server: Server, tmp_path: Path) -> None:
    add(server.root, 10_003, more="Revised since.")
    told = fetch(server, tmp_path / "out")
    assert told["failed"] == {}
    assert b"Revised since" in articles(tmp_path / "out" / FIRST)["PMC10003.xml"]
    assert server.asked()["metadata/PMC10003.1.json"] == 1  # the ETag vouches for it
    told = fetch_pmc(tmp_path / "copy", base_url=str(server.root))
    assert told["failed"] == {}
    assert products(tmp_path / "copy") == products(tmp_path / "out")


@pytest.mark.parametrize("said", ["[]", "{", '{"pmcid": "PMC10001", "version": 1}', "null"])
def test_metadata_of_something_else(server: Server, tmp_path: Path, said: str) -> None:
    (server.root / "metadata" / "PMC10003.1.json").write_text(said)
    take_inventory(server.root, MONDAY)
    told = fetch(server, tmp_path / "out")
    assert list(told["failed"]) == ["PMC10003.1"]


def test_an_article_without_xml_is_counted(server: Server, tmp_path: Path) -> None:
    add(server.root, 10_003, xml_url=None)
    add(server.root, 10_001, xml_url="s3://pmc-oa-opendata/PMC10001.1/PMC10001.1.xml")
    take_inventory(server.root, MONDAY)
    told = fetch(server, tmp_path / "out")
    assert told["left_out"]["no_xml"] == 1
    assert "no MD5" in told["failed"]["PMC10001.1"]


def test_connections_are_kept_and_no_more_than_asked_for(server: Server, tmp_path: Path) -> None:
    for pmcid in range(30_000, 30_040):
        add(server.root, pmcid)
    take_inventory(server.root, MONDAY)
    fetch(server, tmp_path / "out", connections=3)
    assert len(server.requests) > 90
    assert server.most_busy <= 3
    assert server.connections <= 3 + 1 + 3  # the pool's, the listing's, the inventory's


def test_a_server_that_closes_kept_connections(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BucketHandler, "timeout", 0.02)  # of idle connections
    slow = sorted(path.name for path in server.root.glob("PMC*"))
    for name in slow:
        server.faults[f"{name}/{name}.xml"] = ["busy"]
    assert fetch(server, tmp_path / "out", connections=1)["failed"] == {}


def test_a_folder_and_a_plain_server_do_as_well(server: Server, tmp_path: Path) -> None:
    fetch(server, tmp_path / "a")
    fetch_pmc(tmp_path / "b", base_url=str(server.root))
    with serving(server.root) as plain:  # directory pages, other ETags, no kept connections
        fetch(plain, tmp_path / "c")
    assert products(tmp_path / "a") == products(tmp_path / "b") == products(tmp_path / "c")


def test_a_damaged_package_is_made_again(server: Server, tmp_path: Path) -> None:
    out = tmp_path / "out"
    fetch(server, out)
    before = products(out)
    path = out / FIRST
    path.write_bytes(path.read_bytes()[:200])
    fetch(server, out)
    assert products(out) == before
    path.unlink()
    fetch(server, out)
    assert products(out) == before


def test_killed_at_any_moment_and_started_again(server: Server, tmp_path: Path) -> None:
    for pmcid in range(20_001, 20_030):
        add(server.root, pmcid)
    take_inventory(server.root, MONDAY)
    fetch(server, tmp_path / "whole")
    out = tmp_path / "out"
    command = [sys.executable, "-m", "data_preprocessing", "fetch_pmc", str(out)]
    command += ["--base_url", server.url, "--connections", "2"]
    for pmcid in range(20_001, 20_030):
        server.faults[f"PMC{pmcid}.1/PMC{pmcid}.1.xml"] = ["busy"]
    server.requests.clear()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None and not any(
            path.startswith("PMC200") for path, _ in list(server.requests)
        ):
            time.sleep(0.005)
        time.sleep(random.uniform(0.0, 0.2))
        process.kill()
    assert (out / FIRST).exists()
    server.requests.clear()
    assert fetch(server, out)["failed"] == {}
    assert not any(path.startswith("PMC100") for path in server.asked())
    assert products(out) == products(tmp_path / "whole")


def test_no_room(server: Server, tmp_path: Path) -> None:
    add(server.root, 10_003, more=random.Random(0).randbytes(20_000).hex())
    take_inventory(server.root, MONDAY)
    command = [sys.executable, "-m", "data_preprocessing", "fetch_pmc", str(tmp_path / "out")]
    done = subprocess.run(
        [*command, "--base_url", server.url],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192)),
    )
    assert done.returncode == 2
    assert "error: " in done.stderr.splitlines()[-1]
    assert "File too large" in done.stderr.splitlines()[-1]
    assert not list((tmp_path / "out").glob("*.tar.gz"))
    assert fetch(server, tmp_path / "out")["articles"] == 6


def test_interrupted(server: Server, tmp_path: Path) -> None:
    for name in ("PMC10001.1", "PMC10003.1", "PMC19999.1"):
        server.faults[f"{name}/{name}.xml"] = ["503"] * 99
    command = [sys.executable, "-m", "data_preprocessing", "fetch_pmc", str(tmp_path / "out")]
    with subprocess.Popen(
        [*command, "--base_url", server.url],
        stderr=subprocess.PIPE,
        text=True,
        # What a shell starts in the background ignores the signal, and so would this.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        while process.poll() is None and not any(p[-4:] == ".xml" for p in server.asked()):
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=20)  # though it had minutes to wait
    assert process.returncode == 130
    assert told.splitlines()[-1] == "interrupted; nothing half-written was kept"


def test_stopped_by_too_many_failures(server: Server, tmp_path: Path) -> None:
    for pmcid in range(30_000, 30_040):
        add(server.root, pmcid)
        server.faults[f"PMC{pmcid}.1/PMC{pmcid}.1.xml"] = ["503"] * 9
    take_inventory(server.root, MONDAY)
    with pytest.raises(UserError, match=r"11 files could not be had, the last: .* 503 .*run it"):
        fetch(server, tmp_path / "out", max_failed=10)
    with pytest.raises(UserError, match="20 files could not be had"):  # in a row: an outage
        fetch(server, tmp_path / "out")
    assert (tmp_path / "out" / FIRST).exists()
    assert not (tmp_path / "out" / "pmc_comm.PMC00003xxxx.tar.gz").exists()


def test_a_copy_without_articles_is_not_believed(server: Server, tmp_path: Path) -> None:
    for pmcid in range(30_000, 30_030):
        add(server.root, pmcid)
    take_inventory(server.root, MONDAY)
    for pmcid in range(30_000, 30_030):
        (server.root / f"PMC{pmcid}.1" / f"PMC{pmcid}.1.xml").unlink()
    with pytest.raises(UserError, match="not one of 30 listed files is there"):
        fetch(server, tmp_path / "out")


def test_the_newest_inventory_that_is_finished(server: Server, tmp_path: Path) -> None:
    (server.root / INVENTORY / TUESDAY).mkdir()
    assert fetch(server, tmp_path / "out")["inventory"] == MONDAY
    take_inventory(server.root, TUESDAY)
    assert fetch(server, tmp_path / "out")["inventory"] == TUESDAY
    assert len(list((tmp_path / "out" / "inventory").iterdir())) == 2


def test_bad_inventories(server: Server, tmp_path: Path) -> None:
    manifest = server.root / INVENTORY / MONDAY / "manifest.json"
    good = json.loads(manifest.read_text())
    patience = Patience(retries=0)
    bad = [
        ({**good, "fileSchema": "Bucket, Key"}, "not a manifest"),
        ({**good, "files": [{"key": "../x.csv.gz\0"}]}, "not a manifest"),
        ({**good, "files": [{**good["files"][0], "MD5checksum": "0" * 32}]}, "expected 000"),
        ({**good, "files": []}, "lists no article"),
    ]
    for content, message in bad:
        manifest.write_text(json.dumps(content))
        with pytest.raises(UserError, match=message):
            fetch(server, tmp_path / "out", patience=patience)
    data = b"no gzip"
    (server.root / good["files"][0]["key"]).write_bytes(data)
    manifest.write_text(
        json.dumps({**good, "files": [{**good["files"][0], "MD5checksum": md5(data)}]})
    )
    with pytest.raises(UserError, match="not an inventory"):
        fetch(server, tmp_path / "out")
    manifest.unlink()
    with pytest.raises(UserError, match="no inventory there"):
        fetch(server, tmp_path / "out")


def test_marks_of_etags() -> None:
    assert mark_of('"0000000000000010ffffffffffffffff"') == 16
    assert mark_of("0000000000000010FFFFFFFFFFFFFFFF-3") == 16
    assert mark_of("weak") == int(md5(b"weak")[:16], 16)


def test_mistakes_are_said(server: Server, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="free: no such licence group; expected comm, noncomm"):
        fetch(server, tmp_path / "out", "free")
    with pytest.raises(UserError, match="no such folder"):
        fetch_pmc(tmp_path / "out", base_url=str(tmp_path / "none"))
    with only_one(tmp_path / "out"), pytest.raises(UserError, match="another run"):
        fetch(server, tmp_path / "out")
    fetch(server, tmp_path / "out")
    (tmp_path / "out" / "metadata" / "PMC00001xxxx.csv.gz").write_bytes(b"x")
    with pytest.raises(UserError, match=r"PMC00001xxxx\.csv\.gz: damaged"):
        fetch(server, tmp_path / "out")


def test_command_line(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["fetch_pmc", str(tmp_path / "out"), "--base_url", server.url]
    assert main(command) == 0
    assert "new: 6" in capsys.readouterr().out
    (server.root / "PMC10003.1" / "PMC10003.1.xml").unlink()
    assert main(["fetch_pmc", str(tmp_path / "b"), "--base_url", server.url]) == 0
    captured = capsys.readouterr()
    assert "gone: 1" in captured.out
    assert "PMC10003.1.xml: the server answered 404" in captured.err
    xml = server.root / "PMC10001.1" / "PMC10001.1.xml"
    xml.write_bytes(b"another")
    assert main(["fetch_pmc", str(tmp_path / "c"), "--base_url", server.url]) == 2
    assert "error: 1 articles could not be fetched; run it again" in capsys.readouterr().err
