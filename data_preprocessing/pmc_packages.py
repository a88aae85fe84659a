"""Packages of articles as `parse` reads them: NAME.tar.gz with NAME.filelist.csv beside it.

Laid out like NLM's bulk packages. Same articles, same bytes (with the same zlib).
"""

import csv
import gzip
import hashlib
import io
import re
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, TypeAlias

from data_preprocessing.byte_streams import open_bytes
from data_preprocessing.pmc_articles import Article
from data_preprocessing.pmc_jats import filelist_of
from data_preprocessing.records import replacing
from modelzoo_mediswift.errors import UserError

RANGE = 10_000
"""A package has the articles of one licence group among so many PMCIDs in a row; which package an
article is in depends on nothing else."""
Versions: TypeAlias = dict[int, tuple[str, ...]]
"""PMCID -> what a package's list says of the article, its version first."""
_LEVEL = 4  # of gzip: nearly twice as fast as 6 on articles, 6 % longer
_COLUMNS = ("Article File", "AccessionID", "Version", "PMID", "License", "Retracted", "MD5")
_TOLD = ("Version", "License", "Retracted", "MD5")
_MEMBER = re.compile(r"PMC(\d{1,18})\.xml")


def range_name(number: int) -> str:
    """The PMCIDs of a range as NLM writes them: 1100 -> PMC01100xxxx."""
    return f"PMC{number:05d}xxxx"


def package_name(group: str, number: int) -> str:
    """The file of a group's articles in a range."""
    return f"pmc_{group}.{range_name(number)}.tar.gz"


def write_package(
    path: Path, number: int, contents: Iterable[tuple[Article, bytes]]
) -> list[Article]:
    """Write articles, in the order given, to a package and its list; returns them.

    Both appear whole; without any article, both disappear.
    """
    written = []
    with replacing(path) as temporary, temporary.open("wb") as handle:
        zipped = gzip.GzipFile("", "wb", _LEVEL, handle, mtime=0)
        with zipped, tarfile.open(fileobj=zipped, mode="w", format=tarfile.USTAR_FORMAT) as archive:
            for article, content in contents:
                member = tarfile.TarInfo(_member(number, article))
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
                written.append(article)
    if written:
        _write_list(filelist_of(path), number, written)
    else:
        remove_package(path)
    return written


def remove_package(path: Path) -> None:
    """Remove a package and its list, as far as they are there."""
    path.unlink(missing_ok=True)
    filelist_of(path).unlink(missing_ok=True)


def _member(number: int, article: Article) -> str:
    return f"{range_name(number)}/PMC{article.pmcid}.xml"


def _write_list(path: Path, number: int, articles: Iterable[Article]) -> None:
    with (
        replacing(path) as temporary,
        temporary.open("w", encoding="utf-8", newline="") as handle,
    ):
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(_COLUMNS)
        for article in articles:
            writer.writerow(
                (
                    _member(number, article),
                    f"PMC{article.pmcid}",
                    article.version,
                    article.pmid or "",
                    article.licence,
                    "yes" if article.retracted else "no",
                    article.md5,
                )
            )


def listed_versions(path: Path) -> Versions:
    """What a package's list says; {} without a readable list."""
    try:
        with filelist_of(path).open(encoding="utf-8", newline="") as handle:
            return {
                int(row["AccessionID"].removeprefix("PMC")): tuple(map(row.__getitem__, _TOLD))
                for row in csv.DictReader(handle)
            }
    except (OSError, ValueError, KeyError, csv.Error):
        return {}


def packed_digests(path: Path) -> dict[int, str]:
    """PMCID -> MD5 of what a package really holds, as far as it can be read."""
    return {pmcid: hashlib.md5(content).hexdigest() for pmcid, content in packed_contents(path)}


def packed_contents(path: Path) -> Iterator[tuple[int, bytes]]:
    """The articles of a package in its order, up to its end or the first damage."""
    try:
        with open_bytes(path) as stream:
            source: Any = stream
            with tarfile.open(fileobj=source, mode="r|") as archive:
                for member in archive:
                    match = _MEMBER.fullmatch(PurePosixPath(member.name).name)
                    content = archive.extractfile(member) if member.isreg() else None
                    if match and content is not None:
                        yield int(match[1]), content.read()
    except (OSError, tarfile.TarError, UserError):
        return
