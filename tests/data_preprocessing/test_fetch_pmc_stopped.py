"""`fetch_pmc` killed, interrupted and without room, and started again."""

import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

from pmc_bucket import add, take_inventory
from pmc_fetching import FIRST, MONDAY, fetch, products
from unreliable_server import Server


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


def test_a_full_disk_is_one_line_and_leaves_no_package(server: Server, tmp_path: Path) -> None:
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
