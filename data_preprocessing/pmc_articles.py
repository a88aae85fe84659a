"""What PMC's bucket says of an article version: licence group, identifiers, the MD5 of its XML."""

import csv
import gzip
import io
import json
import re
import urllib.parse
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from data_preprocessing.download import BadContent
from data_preprocessing.file_sets import GROUPS
from data_preprocessing.jats_metadata import licence_code
from data_preprocessing.records import replacing
from modelzoo_mediswift.errors import UserError

NOT_OPEN = "not_open_access"
"""Author manuscripts for text mining, outside the Open Access Subset."""
NO_XML = "no_xml"


@dataclass(frozen=True, slots=True)
class Article:
    """One article version."""

    pmcid: int
    version: int
    mark: int
    """Of its metadata, in the inventory."""
    group: str
    """One of GROUPS, or why it is in none."""
    historical_ocr: bool
    """Read by a machine from a scan of the 18th to 20th century."""
    licence: str
    """As NLM writes it; "" where it names none."""
    pmid: int | None
    retracted: bool
    md5: str
    """Of the XML."""

    @property
    def name(self) -> str:
        return f"PMC{self.pmcid}.{self.version}"

    @property
    def xml_path(self) -> str:
        return f"{self.name}/{self.name}.xml"


def metadata_path(pmcid: int, version: int) -> str:
    """Where the bucket keeps the metadata of an article version."""
    return f"metadata/PMC{pmcid}.{version}.json"


def read_article(content: bytes, pmcid: int, version: int, mark: int) -> Article:
    """Read the metadata of an article version; raises BadContent if it is not that."""
    try:
        said = json.loads(content)
        known = said["pmcid"], int(said["version"])
    except (ValueError, KeyError, TypeError):
        raise BadContent("not the metadata of an article version") from None
    if known != (f"PMC{pmcid}", version):
        raise BadContent(f"the metadata of {known[0]}.{known[1]}")
    licence = str(said.get("license_code") or "")
    group, md5 = _group(said, licence), ""
    if url := str(said.get("xml_url") or ""):
        md5 = urllib.parse.parse_qs(urllib.parse.urlsplit(url).query).get("md5", [""])[0].lower()
        if not re.fullmatch("[0-9a-f]{32}", md5):
            raise BadContent("states no MD5 of the XML")
    elif group in GROUPS:
        group = NO_XML
    pmid = str(said.get("pmid") or "")
    return Article(
        pmcid=pmcid,
        version=version,
        mark=mark,
        group=group,
        historical_ocr=_is_true(said.get("is_historical_ocr")),
        licence=licence,
        pmid=int(pmid) if re.fullmatch(r"[1-9]\d{0,17}", pmid) else None,
        retracted=_is_true(said.get("is_retracted")),
        md5=md5,
    )


def _group(said: dict[str, Any], licence: str) -> str:
    if not _is_true(said.get("is_pmc_openaccess")):
        return NOT_OPEN
    code = licence_code(licence) or ""
    if code.startswith("CC-BY-NC"):
        return "noncomm"
    return "comm" if code.startswith("CC") else "other"


def _is_true(value: object) -> bool:
    return value is True or str(value).lower() in ("true", "yes")


_COLUMNS = [field.name for field in fields(Article)]


def write_articles(path: Path, articles: Iterable[Article]) -> None:
    """Write what is known of articles as CSV (gzip); same articles, same bytes."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for article in articles:
        values = [getattr(article, name) for name in _COLUMNS]
        writer.writerow([int(value) if isinstance(value, bool) else value for value in values])
    with replacing(path) as temporary:
        temporary.write_bytes(gzip.compress(text.getvalue().encode(), mtime=0))


def read_articles(path: Path) -> dict[int, Article]:
    """Read what `write_articles` wrote, by PMCID; {} if it is not there.

    Raises:
        UserError: the file is damaged.
    """
    articles: dict[int, Article] = {}
    try:
        text = gzip.decompress(path.read_bytes()).decode()
        for row in csv.DictReader(io.StringIO(text, newline="")):
            pmcid = int(row["pmcid"])
            articles[pmcid] = Article(
                pmcid=pmcid,
                version=int(row["version"]),
                mark=int(row["mark"]),
                group=row["group"],
                historical_ocr=row["historical_ocr"] == "1",
                licence=row["licence"],
                pmid=int(row["pmid"]) if row["pmid"] else None,
                retracted=row["retracted"] == "1",
                md5=row["md5"],
            )
    except FileNotFoundError:
        return {}
    except (OSError, EOFError, zlib.error, ValueError, KeyError, csv.Error) as error:
        raise UserError(f"{path}: damaged ({error}); remove it, and it is asked anew") from None
    return articles
