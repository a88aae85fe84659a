"""The list of all article versions in PMC's bucket: S3's daily inventory of its metadata.

A dated folder holds manifest.json, which names the CSV files (gzip, with MD5) of that day.
Source: the bucket's README.txt and NLM's page "Accessing PMC Article Datasets Using AWS".
"""

import csv
import gzip
import hashlib
import json
import re
import urllib.parse
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from data_preprocessing.download import BadContent, Patience, download, patiently
from data_preprocessing.mirror import Mirror, MissingError
from modelzoo_mediswift.errors import UserError

INVENTORY = "inventory-reports/pmc-oa-opendata/metadata"
_DATED = re.compile(r"\d{4}-\d\d-\d\dT\d\d-\d\dZ")
_METADATA = re.compile(r"metadata/PMC(\d{1,18})\.(\d{1,9})\.json")
_MAX_MANIFEST = 16 << 20
_TRIES = 3  # the newest folder may still be in the making
_ROW = np.dtype([("pmcid", np.int64), ("version", np.int32), ("mark", np.uint64)])


@dataclass(frozen=True)
class Inventory:
    """The newest version of every article, by PMCID."""

    date: str
    versions: int
    """Article versions listed, old ones included."""
    rows: npt.NDArray[np.void]
    """Of `pmcid`, `version` and `mark`, which changes when the version's metadata does."""


def newest_inventory(mirror: Mirror, folder: Path, patience: Patience) -> Inventory:
    """Bring the mirror's newest inventory to `folder` (less than 300 MB for all of PMC), and read.

    Raises:
        UserError: there is none, or it is damaged or empty.
    """
    date, manifest = _newest_manifest(mirror, patience)
    where = mirror.where(f"{INVENTORY}/{date}/manifest.json")
    try:
        schema = [column.strip() for column in manifest["fileSchema"].split(",")]
        columns = schema.index("Key"), schema.index("ETag")
        files = {_name(entry["key"]): entry for entry in manifest["files"]}
    except (KeyError, TypeError, AttributeError, ValueError):
        raise UserError(f"{where}: not a manifest of CSV files with Key and ETag") from None
    folder.mkdir(parents=True, exist_ok=True)
    for name, entry in files.items():
        _bring(mirror, entry, folder / name, patience)
    for path in folder.iterdir():
        if path.name not in files:
            path.unlink()
    rows = np.fromiter(
        (row for name in sorted(files) for row in _rows(folder / name, *columns)), _ROW
    )
    if not len(rows):
        raise UserError(f"{where}: the inventory lists no article")
    rows = rows[np.lexsort((rows["version"], rows["pmcid"]))]
    newest = np.append(rows["pmcid"][1:] != rows["pmcid"][:-1], True)
    return Inventory(date, len(rows), rows[newest])


def mark_of(etag: str) -> int:
    """64 bits of an ETag or an MD5, as `Inventory.rows` has them."""
    digits = etag.strip('"').lower()
    if re.fullmatch(r"[0-9a-f]{32}(-\d+)?", digits) is None:
        digits = hashlib.md5(digits.encode()).hexdigest()
    return int(digits[:16], 16)


def _newest_manifest(mirror: Mirror, patience: Patience) -> tuple[str, dict[str, Any]]:
    folders = patiently(lambda: mirror.folders(INVENTORY), patience)
    dates = sorted(filter(_DATED.fullmatch, folders), reverse=True)
    for date in dates[:_TRIES]:
        try:
            return date, patiently(lambda: _manifest(mirror, date), patience)  # noqa: B023
        except MissingError:
            continue
    raise UserError(f"{mirror.where(INVENTORY)}: no inventory there")


def _manifest(mirror: Mirror, date: str) -> dict[str, Any]:
    path = f"{INVENTORY}/{date}/manifest.json"
    try:
        return dict(json.loads(mirror.get(path, _MAX_MANIFEST).content))
    except (ValueError, TypeError):
        raise BadContent(f"{mirror.where(path)}: not JSON") from None


def _name(key: str) -> str:
    name = PurePosixPath(key).name
    if not re.fullmatch(r"[\w-][\w.-]*\.csv\.gz", name):
        raise ValueError
    return name


def _bring(mirror: Mirror, entry: dict[str, Any], target: Path, patience: Patience) -> None:
    expected = str(entry.get("MD5checksum", "")).lower()

    def verify(part: Path) -> None:
        with part.open("rb") as handle:
            found = hashlib.file_digest(handle, "md5").hexdigest()
        if found != expected:
            raise BadContent(f"MD5 is {found}, expected {expected or 'one in the manifest'}")

    try:
        verify(target)
    except (BadContent, FileNotFoundError):
        download(mirror, urllib.parse.unquote(str(entry["key"])), target, verify, patience)


def _rows(path: Path, key: int, etag: int) -> Iterator[tuple[int, int, int]]:
    try:
        with gzip.open(path, "rt", encoding="utf-8", newline="") as handle:
            for row in csv.reader(handle):
                name = row[key]
                match = _METADATA.fullmatch(urllib.parse.unquote(name) if "%" in name else name)
                if match:
                    yield int(match[1]), int(match[2]), mark_of(row[etag])
    except (OSError, EOFError, zlib.error, ValueError, csv.Error, IndexError) as error:
        raise UserError(f"{path}: not an inventory ({error or type(error).__name__})") from None
