"""`fetch_pmc`: which articles come, in which packages, and what the next run asks for."""

from pathlib import Path

import pytest
from pmc_bucket import INVENTORY, add, md5, remove, take_inventory
from pmc_fetching import FIRST, MONDAY, TUESDAY, articles, changes, fetch, products
from unreliable_server import Server, serving

from data_preprocessing.__main__ import main
from data_preprocessing.fetch_pmc import fetch_pmc
from data_preprocessing.only_one import only_one
from data_preprocessing.parse import parse_files
from data_preprocessing.pmc_inventory import mark_of
from data_preprocessing.records import read_parquet
from modelzoo_mediswift.errors import UserError


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


def test_connections_are_kept_and_no_more_than_asked_for(server: Server, tmp_path: Path) -> None:
    for pmcid in range(30_000, 30_040):
        add(server.root, pmcid)
    take_inventory(server.root, MONDAY)
    fetch(server, tmp_path / "out", connections=3)
    assert len(server.requests) > 90
    assert server.most_busy <= 3
    assert server.connections <= 3 + 1 + 3  # the pool's, the listing's, the inventory's


def test_a_folder_and_a_plain_server_do_as_well(server: Server, tmp_path: Path) -> None:
    fetch(server, tmp_path / "a")
    fetch_pmc(tmp_path / "b", base_url=str(server.root))
    with serving(server.root) as plain:  # directory pages, other ETags, no kept connections
        fetch(plain, tmp_path / "c")
    assert products(tmp_path / "a") == products(tmp_path / "b") == products(tmp_path / "c")


def test_the_newest_inventory_that_is_finished(server: Server, tmp_path: Path) -> None:
    (server.root / INVENTORY / TUESDAY).mkdir()
    assert fetch(server, tmp_path / "out")["inventory"] == MONDAY
    take_inventory(server.root, TUESDAY)
    assert fetch(server, tmp_path / "out")["inventory"] == TUESDAY
    assert len(list((tmp_path / "out" / "inventory").iterdir())) == 2


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
