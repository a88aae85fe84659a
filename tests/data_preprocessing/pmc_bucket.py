"""A folder laid out like NLM's bucket of PMC articles, and its daily inventory."""

import gzip
import hashlib
import json
import shutil
from pathlib import Path

INVENTORY = "inventory-reports/pmc-oa-opendata/metadata"

XML = """<?xml version="1.0" encoding="UTF-8"?>
<article article-type="research-article" xml:lang="en"><front><article-meta>
<article-id pub-id-type="pmc">{pmcid}</article-id>
<title-group><article-title>Article {pmcid}</article-title></title-group>
<pub-date><year>2024</year></pub-date></article-meta></front>
<body><p>The text of version {version} of article {pmcid}. {more}</p></body></article>
"""


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def add(
    root: Path,
    pmcid: int,
    version: int = 1,
    more: str = "",
    xml: bytes | None = None,
    **said: object,
) -> None:
    """Add or replace an article version; `said` replaces parts of its metadata."""
    name = f"PMC{pmcid}.{version}"
    if xml is None:
        xml = XML.format(pmcid=pmcid, version=version, more=more).encode()
    (root / name).mkdir(parents=True, exist_ok=True)
    (root / "metadata").mkdir(exist_ok=True)
    (root / name / f"{name}.xml").write_bytes(xml)
    metadata = {
        "pmcid": f"PMC{pmcid}",
        "version": version,
        "pmid": 30_000_000 + pmcid,
        "doi": None,
        "title": f"Article {pmcid}",
        "is_pmc_openaccess": True,
        "is_manuscript": False,
        "is_historical_ocr": False,
        "is_retracted": False,
        "license_code": "CC BY",
        "xml_url": f"s3://pmc-oa-opendata/{name}/{name}.xml?md5={md5(xml)}",
        **said,
    }
    for place in (root / "metadata", root / name):
        (place / f"{name}.json").write_text(json.dumps(metadata))


def remove(root: Path, pmcid: int, version: int = 1) -> None:
    name = f"PMC{pmcid}.{version}"
    shutil.rmtree(root / name)
    (root / "metadata" / f"{name}.json").unlink()


def take_inventory(root: Path, date: str) -> None:
    """List the metadata objects as S3 does, in two files."""
    rows = [
        f'"pmc-oa-opendata","metadata/{path.name}","{date[:10]}T00:00:00.000Z",'
        f'"{md5(path.read_bytes())}"\n'
        for path in sorted((root / "metadata").iterdir())
    ]
    data = root / INVENTORY / "data"
    data.mkdir(parents=True, exist_ok=True)
    files = []
    for part in (0, 1):
        content = gzip.compress("".join(rows[part::2]).encode())
        name = f"{date}-{part}.csv.gz"
        (data / name).write_bytes(content)
        key = f"{INVENTORY}/data/{name}"
        files.append({"key": key, "size": len(content), "MD5checksum": md5(content)})
    manifest = {
        "sourceBucket": "pmc-oa-opendata",
        "fileFormat": "CSV",
        "fileSchema": "Bucket, Key, LastModifiedDate, ETag",
        "files": files,
    }
    (root / INVENTORY / date).mkdir(exist_ok=True)
    (root / INVENTORY / "hive").mkdir(exist_ok=True)
    (root / INVENTORY / date / "manifest.json").write_text(json.dumps(manifest))
