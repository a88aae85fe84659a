"""`fetch_pmc` against a bucket that breaks off, lies, and lacks what it lists."""

import json
from pathlib import Path

import pytest
from pmc_bucket import INVENTORY, add, md5, take_inventory
from pmc_fetching import FIRST, MONDAY, articles, changes, fetch, products
from unreliable_server import BucketHandler, Server

from data_preprocessing.download import Patience
from data_preprocessing.fetch_pmc import fetch_pmc
from modelzoo_mediswift.errors import UserError


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


def test_a_server_that_closes_kept_connections(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BucketHandler, "timeout", 0.02)  # of idle connections
    slow = sorted(path.name for path in server.root.glob("PMC*"))
    for name in slow:
        server.faults[f"{name}/{name}.xml"] = ["busy"]
    assert fetch(server, tmp_path / "out", connections=1)["failed"] == {}


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
