"""Fetching from a real HTTP server on loopback that misbehaves."""

import errno
import hashlib
import io
import json
import os
import random
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from unreliable_server import BucketHandler, Server, serving

from data_preprocessing import download as download_module
from data_preprocessing.__main__ import main
from data_preprocessing.download import BadContent, Patience
from data_preprocessing.fetch import check_package, fetch_files
from data_preprocessing.mirror import mirror_of
from data_preprocessing.only_one import TEMPORARY, only_one
from data_preprocessing.records import replacing
from modelzoo_mediswift.errors import UserError

BASELINE = "pubmed/baseline"
FIRST, SECOND = "pubmed26n0001.xml.gz", "pubmed26n0002.xml.gz"
PACKAGE = "oa_comm_xml.PMC000xxxxxx.baseline.2026-01-01.tar.gz"
COMM = "pub/pmc/oa_bulk/oa_comm/xml"


def add_pubmed(root: Path, name: str, seed: int, folder: str = BASELINE) -> bytes:
    content = random.Random(seed).randbytes(300_000)
    (root / folder).mkdir(parents=True, exist_ok=True)
    (root / folder / name).write_bytes(content)
    digest = hashlib.md5(content).hexdigest()
    (root / folder / f"{name}.md5").write_text(f"MD5({name})= {digest}\n")
    return content


def package(*pmcids: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for pmcid in pmcids:
            content = random.Random(pmcid).randbytes(50_000)
            info = tarfile.TarInfo(f"PMC000xxxxxx/PMC{pmcid}.xml")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def add_package(root: Path, pmcids: tuple[int, ...], listed: tuple[int, ...]) -> None:
    (root / COMM).mkdir(parents=True, exist_ok=True)
    (root / COMM / PACKAGE).write_bytes(package(*pmcids))
    rows = "".join(f"PMC000xxxxxx/PMC{i}.xml,PMC{i},{i},CC BY\n" for i in listed)
    filelist = PACKAGE.replace(".tar.gz", ".filelist.csv")
    (root / COMM / filelist).write_text(f"Article File,AccessionID,PMID,License\n{rows}")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    root = tmp_path / "nlm"
    add_pubmed(root, FIRST, 1)
    add_pubmed(root, SECOND, 2)
    (root / BASELINE / "README.txt").write_text("not data")
    with serving(root) as running:
        yield running


def fetch(server: Server, out: Path, *sets: str, **options: object) -> dict:
    patience = Patience(retries=3, pause=0.001)
    options = {"interval": 0, "timeout": 0.5, "patience": patience, **options}
    return fetch_files(out, sets or ("pubmed_baseline",), base_url=server.url, **options)


def fetched(out: Path, name: str = FIRST, folder: str = "pubmed_baseline") -> bytes:
    return (out / folder / name).read_bytes()


def test_all_files_of_a_set_and_nothing_else(server: Server, tmp_path: Path) -> None:
    out = tmp_path / "out"
    told = fetch(server, out)["pubmed_baseline"]
    assert told["new"] == [FIRST, SECOND]
    assert (told["listed"], told["failed"]) == (2, {})
    for name in (FIRST, SECOND):
        assert fetched(out, name) == (server.root / BASELINE / name).read_bytes()
    assert sorted(p.name for p in (out / "pubmed_baseline").iterdir()) == [
        FIRST,
        f"{FIRST}.md5",
        SECOND,
        f"{SECOND}.md5",
    ]


def test_the_next_time_only_what_is_new(server: Server, tmp_path: Path) -> None:
    out = tmp_path / "out"
    fetch(server, out)
    server.requests.clear()
    assert fetch(server, out)["pubmed_baseline"]["unchanged"] == 2
    assert server.asked() == {BASELINE: 1}  # the listing alone told

    revised = add_pubmed(server.root, FIRST, 11)
    third = add_pubmed(server.root, "pubmed26n0003.xml.gz", 3)
    told = fetch(server, out)["pubmed_baseline"]
    assert (told["changed"], told["new"]) == ([FIRST], ["pubmed26n0003.xml.gz"])
    assert fetched(out) == revised
    assert fetched(out, "pubmed26n0003.xml.gz") == third


def test_files_the_server_no_longer_has(server: Server, tmp_path: Path) -> None:
    out = tmp_path / "out"
    fetch(server, out)
    (server.root / BASELINE / FIRST).unlink()
    assert fetch(server, out)["pubmed_baseline"]["gone"] == [FIRST]
    assert (out / "pubmed_baseline" / FIRST).exists()
    assert fetch(server, out, prune=True)["pubmed_baseline"]["gone"] == [FIRST]
    assert not list((out / "pubmed_baseline").glob(f"{FIRST}*"))
    assert not (out / "pubmed_baseline" / FIRST).exists()
    assert fetch(server, out)["pubmed_baseline"]["gone"] == []


def test_a_dropped_connection_is_continued_where_it_broke(server: Server, tmp_path: Path) -> None:
    server.faults[f"{BASELINE}/{FIRST}"] = ["drop", "drop"]
    assert fetch(server, tmp_path / "out")["pubmed_baseline"]["failed"] == {}
    asked = [span for path, span in server.requests if path == f"{BASELINE}/{FIRST}"]
    assert asked == [None, "bytes=150000-", "bytes=225000-"]
    assert fetched(tmp_path / "out") == (server.root / BASELINE / FIRST).read_bytes()


def test_a_part_of_an_earlier_run_is_continued(server: Server, tmp_path: Path) -> None:
    server.faults[f"{BASELINE}/{FIRST}"] = ["drop", "503"]
    impatient = Patience(retries=0)
    told = fetch(server, tmp_path / "out", patience=impatient)["pubmed_baseline"]
    assert "broke off at 150000 of 300000 bytes" in told["failed"][FIRST]
    assert not (tmp_path / "out" / "pubmed_baseline" / FIRST).exists()
    server.faults.clear()
    assert fetch(server, tmp_path / "out")["pubmed_baseline"]["new"] == [FIRST]
    assert server.requests[-1] == (f"{BASELINE}/{FIRST}", "bytes=150000-")


def test_a_part_of_a_file_that_has_changed_since_is_not_used(
    server: Server, tmp_path: Path
) -> None:
    server.faults[f"{BASELINE}/{FIRST}"] = ["drop"]
    fetch(server, tmp_path / "out", patience=Patience(retries=0))
    revised = add_pubmed(server.root, FIRST, 11)
    server.requests.clear()
    fetch(server, tmp_path / "out")
    assert fetched(tmp_path / "out") == revised
    # If-Range had the server send the whole new file at once.
    assert [r for r in server.requests if r[0].endswith(FIRST)] == [
        (f"{BASELINE}/{FIRST}", "bytes=150000-")
    ]


def test_a_file_of_another_length_is_begun_anew(server: Server, tmp_path: Path) -> None:
    server.etags = False  # so that nothing but the length can tell
    server.faults[f"{BASELINE}/{FIRST}"] = ["drop"]
    fetch(server, tmp_path / "out", patience=Patience(retries=0))
    revised = (server.root / BASELINE / FIRST).read_bytes()[::-1] + b"more"
    (server.root / BASELINE / FIRST).write_bytes(revised)
    digest = hashlib.md5(revised).hexdigest()
    (server.root / BASELINE / f"{FIRST}.md5").write_text(f"MD5({FIRST})= {digest}\n")
    # At once: nothing is appended that a checksum would have to find out.
    told = fetch(server, tmp_path / "out", patience=Patience(retries=0))["pubmed_baseline"]
    assert told["failed"] == {}
    assert fetched(tmp_path / "out") == revised


class WeakHandler(BucketHandler):
    """Gives ETags that do not speak for every byte, and dates."""

    def etag_of(self, target: Path) -> str:
        return f"W/{super().etag_of(target)}"

    def end_headers(self) -> None:
        self.send_header("Last-Modified", "Mon, 05 Jan 2026 01:02:03 GMT")
        super().end_headers()


def test_a_weak_etag_does_not_join_parts(server: Server, tmp_path: Path) -> None:
    with serving(server.root, WeakHandler) as weak:
        mirror = mirror_of(weak.url, interval=0)
        opened = mirror.open(f"{BASELINE}/{FIRST}")
        opened.stream.close()
        mirror.close()
    assert opened.validator == "Mon, 05 Jan 2026 01:02:03 GMT"


def test_a_server_that_ignores_range(server: Server, tmp_path: Path) -> None:
    server.ranges = False
    server.faults[f"{BASELINE}/{FIRST}"] = ["drop"]
    assert fetch(server, tmp_path / "out")["pubmed_baseline"]["failed"] == {}
    assert fetched(tmp_path / "out") == (server.root / BASELINE / FIRST).read_bytes()


def test_a_part_longer_than_the_file(server: Server, tmp_path: Path) -> None:
    server.etags = False  # so that nothing but the range can tell
    server.faults[f"{BASELINE}/{FIRST}"] = ["drop"]
    fetch(server, tmp_path / "out", patience=Patience(retries=0))
    with (tmp_path / "out" / "pubmed_baseline" / f".{FIRST}.part").open("ab") as part:
        part.write(bytes(200_000))
    assert fetch(server, tmp_path / "out")["pubmed_baseline"]["new"] == [FIRST]
    assert fetched(tmp_path / "out") == (server.root / BASELINE / FIRST).read_bytes()


@pytest.mark.parametrize("fault", ["lie", "short", "503", "slow"])
def test_what_passes_is_tried_again(server: Server, tmp_path: Path, fault: str) -> None:
    server.faults[f"{BASELINE}/{FIRST}"] = [fault]
    server.faults[BASELINE] = ["500"]
    assert fetch(server, tmp_path / "out")["pubmed_baseline"]["failed"] == {}
    assert server.asked()[f"{BASELINE}/{FIRST}"] == 2
    assert fetched(tmp_path / "out") == (server.root / BASELINE / FIRST).read_bytes()


def test_a_wrong_checksum_costs_that_file_alone(server: Server, tmp_path: Path) -> None:
    (server.root / BASELINE / f"{FIRST}.md5").write_text(f"MD5({FIRST})= {'0' * 32}\n")
    told = fetch(server, tmp_path / "out")["pubmed_baseline"]
    assert told["new"] == [SECOND]
    assert "expected 00000000000000000000000000000000 (given up after 4" in told["failed"][FIRST]
    assert not list((tmp_path / "out" / "pubmed_baseline").glob(f"*{FIRST}*[!5]"))
    assert server.asked()[f"{BASELINE}/{FIRST}"] == 4


def test_a_missing_checksum_is_not_taken_for_a_match(server: Server, tmp_path: Path) -> None:
    (server.root / BASELINE / f"{FIRST}.md5").unlink()
    told = fetch(server, tmp_path / "out")["pubmed_baseline"]
    assert "the server answered 404" in told["failed"][FIRST]
    assert server.asked()[f"{BASELINE}/{FIRST}.md5"] == 1  # no use to ask again


def test_a_file_that_is_there_already_is_verified_not_fetched(
    server: Server, tmp_path: Path
) -> None:
    folder = tmp_path / "out" / "pubmed_baseline"
    folder.mkdir(parents=True)
    (folder / FIRST).write_bytes((server.root / BASELINE / FIRST).read_bytes())
    (folder / SECOND).write_bytes(b"half of it")
    told = fetch(server, tmp_path / "out")["pubmed_baseline"]
    assert (told["unchanged"], told["new"]) == (1, [SECOND])
    assert f"{BASELINE}/{FIRST}" not in server.asked()


def test_never_more_connections_than_asked_for(server: Server, tmp_path: Path) -> None:
    for number in range(3, 9):
        add_pubmed(server.root, f"pubmed26n000{number}.xml.gz", number)
        server.faults[f"{BASELINE}/pubmed26n000{number}.xml.gz"] = ["busy"]
    fetch(server, tmp_path / "out", connections=2)
    assert server.most_busy == 2


def test_the_newest_and_a_given_list(server: Server, tmp_path: Path) -> None:
    told = fetch(server, tmp_path / "a", newest=1)["pubmed_baseline"]
    assert told["new"] == [SECOND]
    told = fetch(server, tmp_path / "b", names=[FIRST, "../x"])["pubmed_baseline"]
    assert told["new"] == [FIRST]
    assert BASELINE not in [path for path, _ in server.requests][3:]


def test_a_package_and_its_list(server: Server, tmp_path: Path) -> None:
    add_package(server.root, (1, 2, 3), (1, 2, 3))
    server.faults[f"{COMM}/{PACKAGE}"] = ["drop", "lie"]
    out = tmp_path / "out"
    assert fetch(server, out, "pmc_comm")["pmc_comm"]["new"] == [PACKAGE]
    assert fetched(out, PACKAGE, "pmc_comm") == (server.root / COMM / PACKAGE).read_bytes()
    assert fetch(server, out, "pmc_comm")["pmc_comm"]["unchanged"] == 1
    assert (out / "pmc_comm" / PACKAGE.replace(".tar.gz", ".filelist.csv")).exists()


def test_a_package_that_is_not_its_list(server: Server, tmp_path: Path) -> None:
    add_package(server.root, (1, 2), (1, 2, 3))
    told = fetch(server, tmp_path / "out", "pmc_comm", patience=Patience(retries=0))["pmc_comm"]
    assert "1 listed articles are missing, the first PMC3" in told["failed"][PACKAGE]
    assert not (tmp_path / "out" / "pmc_comm" / PACKAGE).exists()


def test_check_package_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "x.tar.gz"
    whole = package(1, 2)
    path.write_bytes(whole)
    check_package(path, [1, 2])
    with pytest.raises(BadContent, match="not listed, the first PMC2"):
        check_package(path, [1])
    for damaged in (whole[:-1], whole[:-6] + b"\0" * 6, whole[:90_000], b"no gzip"):
        path.write_bytes(damaged)
        with pytest.raises(BadContent):
            check_package(path, [1, 2])


def test_a_local_folder_is_a_mirror_too(server: Server, tmp_path: Path) -> None:
    told = fetch_files(tmp_path / "out", ["pubmed_baseline"], base_url=str(server.root))
    assert told["pubmed_baseline"]["new"] == [FIRST, SECOND]
    told = fetch_files(tmp_path / "out", ["pubmed_baseline"], base_url=str(server.root))
    assert told["pubmed_baseline"]["unchanged"] == 2
    assert server.requests == []


def test_stopping_keeps_the_part(server: Server, tmp_path: Path) -> None:
    patience = Patience(stop=threading.Event())
    patience.stop.set()
    with pytest.raises(KeyboardInterrupt):
        fetch(server, tmp_path / "out", patience=patience)
    assert not list((tmp_path / "out").rglob("*.gz"))
    assert fetch(server, tmp_path / "out")["pubmed_baseline"]["new"] == [FIRST, SECOND]


def test_killed_at_any_moment_and_started_again(server: Server, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "data_preprocessing", "fetch", str(out)]
    command += ["--sets", "pubmed_baseline", "--base_url", server.url, "--interval", "0"]
    for moment in (0.0, 0.02, 0.1):
        for name in (FIRST, SECOND):
            server.faults[f"{BASELINE}/{name}"] = ["busy", "drop", "drop"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            while process.poll() is None and not list(out.rglob(".*.gz.part")):
                time.sleep(0.005)
            time.sleep(moment)
            process.kill()
        for path in out.rglob("pubmed26n*.gz"):
            assert path.read_bytes() == (server.root / BASELINE / path.name).read_bytes()
    server.faults.clear()
    told = fetch(server, out)["pubmed_baseline"]
    assert told["failed"] == {}
    assert fetched(out) == (server.root / BASELINE / FIRST).read_bytes()


def test_full_disk(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(download_module.os, "fsync", full)
        told = fetch(server, tmp_path / "out")["pubmed_baseline"]
    assert "No space left on device" in told["failed"][FIRST]
    assert not list((tmp_path / "out" / "pubmed_baseline").glob("p*.gz"))
    assert fetch(server, tmp_path / "out")["pubmed_baseline"]["new"] == [FIRST, SECOND]


def test_a_run_begins_without_what_a_killed_one_left(tmp_path: Path) -> None:
    half = tmp_path / ".a.parquet.host-1.tmp"
    others = tmp_path / ".letter.tmp"  # such as in a home folder that is given as OUT
    for path in (half, others):
        path.write_bytes(b"half")
    with only_one(tmp_path):
        assert not half.exists()
    assert others.exists()
    with replacing(tmp_path / "b.json") as temporary:
        assert TEMPORARY.fullmatch(temporary.name)
        temporary.write_text("")


def test_two_runs_on_one_folder(server: Server, tmp_path: Path) -> None:
    with (
        only_one(tmp_path / "out"),
        pytest.raises(UserError, match=rf"out: another run \(process {os.getpid()}\) is writing"),
    ):
        fetch(server, tmp_path / "out")
    fetch(server, tmp_path / "out")


def test_mistakes_are_said(server: Server, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="pubmed: no such set of files; expected pubmed_baseline"):
        fetch(server, tmp_path / "out", "pubmed")
    with pytest.raises(UserError, match="404"):
        fetch(server, tmp_path / "out", "pmc_other")
    with pytest.raises(UserError, match="no such folder"):
        fetch_files(tmp_path / "out", base_url=str(tmp_path / "none"))
    with pytest.raises(UserError, match=r"expected an http\(s\) URL or a folder"):
        fetch_files(tmp_path / "out", base_url="ftp://127.0.0.1")
    for base_url in ("http://", "https:///pubmed", "http://["):
        with pytest.raises(UserError, match="names no host"):
            fetch_files(tmp_path / "out", base_url=base_url)
    (server.root / COMM).mkdir(parents=True)
    with pytest.raises(UserError, match=r"lists no file like .* \(--sets\)"):
        fetch(server, tmp_path / "out", "pmc_comm")
    (tmp_path / "out" / "fetched.json").write_text("{")
    with pytest.raises(UserError, match=r"fetched\.json: damaged"):
        fetch(server, tmp_path / "out")


def test_command_line(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    command = ["fetch", str(out), "--sets", "pubmed_baseline", "--interval", "0"]
    command += ["--base_url", server.url]
    assert main(command) == 0
    assert "new: 2" in capsys.readouterr().out
    assert set(json.loads((out / "fetched.json").read_text())["files"]) == {
        f"pubmed_baseline/{FIRST}",
        f"pubmed_baseline/{SECOND}",
    }
    (server.root / BASELINE / f"{FIRST}.md5").unlink()
    (server.root / BASELINE / FIRST).write_bytes(b"new")
    assert main(command) == 2
    assert "1 of 2 files could not be fetched" in capsys.readouterr().err
