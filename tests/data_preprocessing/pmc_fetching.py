"""What the tests of `fetch_pmc` share: two inventories, and what came of a run."""

import hashlib
import tarfile
from pathlib import Path
from typing import Any

from unreliable_server import Server

from data_preprocessing.download import Patience
from data_preprocessing.fetch_pmc import fetch_pmc

MONDAY, TUESDAY = "2026-11-16T01-00Z", "2026-11-17T01-00Z"
FIRST = "pmc_comm.PMC00001xxxx.tar.gz"


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
