"""A bucket of PMC articles on loopback, for the tests of `fetch_pmc`."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pmc_bucket import add, take_inventory
from pmc_fetching import MONDAY
from unreliable_server import BucketHandler, Server, serving


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
