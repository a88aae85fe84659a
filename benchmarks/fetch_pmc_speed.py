"""What `fetch_pmc` costs besides the network: articles of a folder to packages, the inventory.

    python benchmarks/fetch_pmc_speed.py PACKAGE.tar.gz [--rows 1000000]

The folder is laid out like NLM's bucket and holds the articles of PACKAGE; --rows is the length of
an inventory made up for reading. Time is the processor's, of all threads; MB are of XML.
"""

import argparse
import gzip
import hashlib
import json
import sys
import tarfile
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "data_preprocessing"))

from pmc_bucket import INVENTORY, add, take_inventory

from data_preprocessing.download import Patience
from data_preprocessing.fetch_pmc import fetch_pmc
from data_preprocessing.mirror import mirror_of
from data_preprocessing.pmc_inventory import newest_inventory

DATE = "2026-11-16T01-00Z"


def fill(bucket: Path, package: Path) -> tuple[int, int]:
    """The package's articles under PMCIDs from 1 on, so that they are one package again."""
    articles = size = 0
    with tarfile.open(package) as archive:
        for member in archive:
            if member.isreg():
                content = archive.extractfile(member)
                assert content is not None
                articles += 1
                size += member.size
                add(bucket, articles, xml=content.read())
    take_inventory(bucket, DATE)
    return articles, size


def made_up_inventory(bucket: Path, rows: int) -> None:
    lines = (
        f'"pmc-oa-opendata","metadata/PMC{10_000_000 + row}.1.json","2026-01-08T11:47:59.000Z",'
        f'"{hashlib.md5(str(row).encode()).hexdigest()}"\n'
        for row in range(rows)
    )
    content = gzip.compress("".join(lines).encode(), 6)
    key = f"{INVENTORY}/data/made-up.csv.gz"
    for folder in (DATE, "data"):
        (bucket / INVENTORY / folder).mkdir(parents=True)
    (bucket / key).write_bytes(content)
    files = [{"key": key, "MD5checksum": hashlib.md5(content).hexdigest()}]
    manifest = {"fileSchema": "Bucket, Key, LastModifiedDate, ETag", "files": files}
    (bucket / INVENTORY / DATE / "manifest.json").write_text(json.dumps(manifest))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("package", type=Path)
    parser.add_argument("--rows", type=int, default=1_000_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        made_up_inventory(Path(folder) / "listed", arguments.rows)
        mirror = mirror_of(str(Path(folder) / "listed"))
        start = time.process_time()
        newest_inventory(mirror, Path(folder) / "inventory", Patience())
        used = time.process_time() - start
        print(f"inventory: {used:.1f} s for {arguments.rows:,} rows")

        articles, size = fill(Path(folder) / "bucket", arguments.package)
        for what in ("first run", "nothing new"):
            start, clock = time.process_time(), time.perf_counter()
            told = fetch_pmc(Path(folder) / "out", base_url=str(Path(folder) / "bucket"))
            used, clock = time.process_time() - start, time.perf_counter() - clock
            assert told["articles"] == articles
            speed = f"{articles / used:,.0f} articles/s, {size / used / 1e6:.0f} MB/s"
            print(f"{what}: {used:.2f} s ({speed}), {clock:.2f} s on the clock")


if __name__ == "__main__":
    main()
