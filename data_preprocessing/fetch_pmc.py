"""The `fetch_pmc` stage: PMC's open-access articles from NLM's bucket, in packages for `parse`.

The bucket has one object per article version and one with its metadata. A range of PMCIDs is done
at a time: the metadata of its articles, then one package per licence group. What is finished is
never asked for again, so that a killed run loses the package it was at, and the next run brings
what is new.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from data_preprocessing.download import BadContent, Patience
from data_preprocessing.fetch_state import FetchState
from data_preprocessing.file_sets import GROUPS, PMC_BUCKET
from data_preprocessing.mirror import mirror_of
from data_preprocessing.object_pool import ObjectPool, has_md5
from data_preprocessing.only_one import only_one
from data_preprocessing.pmc_articles import (
    Article,
    metadata_path,
    read_article,
    read_articles,
    write_articles,
)
from data_preprocessing.pmc_changes import Changes
from data_preprocessing.pmc_inventory import Inventory, mark_of, newest_inventory
from data_preprocessing.pmc_jats import filelist_of
from data_preprocessing.pmc_packages import (
    RANGE,
    Versions,
    listed_versions,
    package_name,
    packed_contents,
    packed_digests,
    range_name,
    remove_package,
    write_package,
)
from modelzoo_mediswift.errors import UserError

STATE = "fetched_pmc.json"
_LIST = "inventory"  # an entry of the state beside the packages
_LOST_SHARE = 0.1  # an inventory that lacks more articles than this is believed only with `prune`


def fetch_pmc(
    out_dir: Path,
    groups: Collection[str] = GROUPS,
    *,
    base_url: str = PMC_BUCKET,
    packages: int | None = None,
    start: int = 0,
    historical_ocr: bool = False,
    connections: int = 16,
    interval: float = 0.0,
    timeout: float = 60.0,
    patience: Patience | None = None,
    max_failed: int = 100,
    prune: bool = False,
) -> dict[str, Any]:
    """Bring the packages in `out_dir` up to date with the bucket, or a copy of it, at `base_url`.

    Takes the newest version of each article, of the licence `groups`, from the range of PMCID
    `start` on; `packages` ends it after so many. Texts of scanned articles only with
    `historical_ocr`. Articles that the bucket no longer lists leave their packages. Returns what
    happened; ``files`` are the packages; ``gone`` and ``failed`` name the articles that are listed
    but were not there, or could not be had, which the next run asks for again.

    Raises:
        UserError: no such group, no inventory, more than `max_failed` articles failed, the list
            is shorter than last time by a tenth (unless `prune`), or another run is at work.
    """
    if unknown := sorted(set(groups) - set(GROUPS)):
        raise UserError(f"{unknown[0]}: no such licence group; expected {', '.join(GROUPS)}")
    mirror = mirror_of(base_url, timeout=timeout, interval=interval)
    patience = patience or Patience()
    with only_one(out_dir), ObjectPool(mirror, connections, patience, max_failed) as pool:
        inventory = newest_inventory(mirror, out_dir / "inventory", patience)
        wanted = [group for group in GROUPS if group in groups]
        stage = _Stage(out_dir, pool, inventory, wanted, historical_ocr)
        stage.check_list(prune)
        stage.run(start // RANGE, packages)
        return stage.report()


class _Stage:
    def __init__(
        self,
        out_dir: Path,
        pool: ObjectPool,
        inventory: Inventory,
        groups: Sequence[str],
        historical_ocr: bool,
    ) -> None:
        self.out_dir = out_dir
        self.pool = pool
        self.inventory = inventory
        self.groups = groups
        self.historical_ocr = historical_ocr
        self.state = FetchState(out_dir / STATE)
        self.files: list[Path] = []
        self.articles = 0
        self.changes = Changes(out_dir, inventory.date)
        self.left_out: Counter[str] = Counter()

    def check_list(self, prune: bool) -> None:
        """Raise UserError if the list is so much shorter than last time that it is hardly whole."""
        now, known = len(self.inventory.rows), self.state.files.get(_LIST)
        if known and not prune and now < (1 - _LOST_SHARE) * known["listed"]:
            raise UserError(
                f"the inventory of {self.inventory.date} lists {now} articles, that of "
                f"{known['date']} {known['listed']}: is it whole? --prune believes it"
            )
        self.state.note(_LIST, {"date": self.inventory.date, "listed": now})

    def run(self, first: int, packages: int | None) -> None:
        rows = self.inventory.rows
        rows = rows[rows["pmcid"] >= first * RANGE]
        numbers, begins = np.unique(rows["pmcid"] // RANGE, return_index=True)
        ends = [*begins[1:].tolist(), len(rows)]
        if packages is None:
            self._remove_unlisted(first, set(numbers.tolist()))
        total = len(rows) if packages is None else None
        with tqdm(total=total, desc="fetch_pmc", unit="article", disable=None) as progress:
            spans = zip(numbers.tolist(), begins.tolist(), ends, strict=True)
            for number, begin, end in spans:
                if packages is not None and len(self.files) >= packages:
                    break
                self._range(number, rows[begin:end], packages)
                progress.set_postfix_str(f"{self.pool.bytes / 1e6:,.0f} MB", refresh=False)
                progress.update(end - begin)

    def report(self) -> dict[str, Any]:
        """What happened; what could not be had goes to the list of changes too."""
        for change, told in (("gone", self.pool.gone), ("failed", self.pool.failed)):
            self.changes.note(change, told)
        return {
            "inventory": self.inventory.date,
            "listed": len(self.inventory.rows),
            "packages": len(self.files),
            "articles": self.articles,
            **self.changes.counts,
            "left_out": dict(sorted(self.left_out.items())),
            "gone": self.pool.gone,
            "failed": self.pool.failed,
            "files": self.files,
        }

    def _remove_unlisted(self, first: int, listed: Collection[int]) -> None:
        for name, entry in list(self.state.files.items()):
            if name != _LIST and entry["range"] >= first and entry["range"] not in listed:
                self.changes.compare(listed_versions(self.out_dir / name), {})
                self._remove(name)
                self._metadata_file(entry["range"]).unlink(missing_ok=True)

    # -- a range of PMCIDs -----------------------------------------------------------------------

    def _range(self, number: int, rows: Any, packages: int | None) -> None:
        articles = self._articles(number, rows)
        before: Versions = {}
        after: Versions = {}
        for group in self.groups:
            if packages is not None and len(self.files) >= packages:
                break
            path = self.out_dir / package_name(group, number)
            before |= listed_versions(path)
            self._package(path, number, [a for a in articles if self._place(a) == group])
            after |= listed_versions(path)
            if path.exists():
                self.files.append(path)
        self.articles += len(after)
        self.left_out.update(place for a in articles if (place := self._place(a)) not in GROUPS)
        self.changes.compare(before, after)

    def _place(self, article: Article) -> str:
        """The article's group, or why it is left out."""
        is_left_out = article.historical_ocr and not self.historical_ocr
        return "historical_ocr" if is_left_out and article.group in GROUPS else article.group

    def _metadata_file(self, number: int) -> Path:
        return self.out_dir / "metadata" / f"{range_name(number)}.csv.gz"

    def _articles(self, number: int, rows: Any) -> list[Article]:
        """What the bucket says of the articles, asked for where it is new."""
        path = self._metadata_file(number)
        path.parent.mkdir(exist_ok=True)
        known = read_articles(path)
        listed = [tuple(map(int, row)) for row in rows.tolist()]
        articles = {
            pmcid: known[pmcid]
            for pmcid, version, mark in listed
            if pmcid in known and (known[pmcid].version, known[pmcid].mark) == (version, mark)
        }
        new = [(pmcid, version, mark) for pmcid, version, mark in listed if pmcid not in articles]
        answers = self.pool.read(
            new,
            name=lambda row: f"PMC{row[0]}.{row[1]}",
            path=lambda row: metadata_path(row[0], row[1]),
            check=lambda row: _metadata_check(*row),
            some=not known,
        )
        for (pmcid, version, mark), content in answers:
            if content is not None:
                articles[pmcid] = read_article(content, pmcid, version, mark)
        ordered = [articles[pmcid] for pmcid in sorted(articles)]
        if ordered != list(known.values()):
            write_articles(path, ordered)
        return ordered

    def _package(self, path: Path, number: int, articles: list[Article]) -> None:
        """Have `articles` in the package, as far as the bucket has them."""
        listing = hashlib.sha256(repr([_content_of(a) for a in articles]).encode()).hexdigest()
        entry = self.state.files.get(path.name)
        here = entry is not None and filelist_of(path).is_file() and _size(path) == entry["size"]
        if here and entry and entry["listing"] == listing and not entry["missing"]:
            return
        if not articles:
            self._remove(path.name)
            return
        packed = packed_digests(path) if path.exists() else {}
        asked = [a for a in articles if packed.get(a.pmcid) != a.md5]
        if here and entry and entry["listing"] == listing and not self._any_there(asked):
            return  # what was missing still is
        self._write(path, number, articles, asked, listing)

    def _write(
        self,
        path: Path,
        number: int,
        articles: list[Article],
        asked: list[Article],
        listing: str,
    ) -> None:
        fetched = {a.pmcid for a in asked}

        def contents() -> Iterator[tuple[Article, bytes]]:
            new = self._read(asked, some=len(asked) == len(articles))
            old = packed_contents(path)
            for article in articles:
                if article.pmcid in fetched:
                    _, content = next(new)
                else:
                    content = next(data for pmcid, data in old if pmcid == article.pmcid)
                if content is not None:
                    yield article, content
            for _ in new:
                pass  # it has the last word on whether anything was there at all

        written = write_package(path, number, contents())
        have = {article.pmcid for article in written}
        self.state.note(
            path.name,
            {
                "range": number,
                "articles": len(written),
                "size": _size(path),
                "listing": listing,
                "missing": [article.pmcid for article in articles if article.pmcid not in have],
            },
        )

    def _read(
        self, articles: list[Article], *, some: bool
    ) -> Iterator[tuple[Article, bytes | None]]:
        return self.pool.read(
            articles,
            name=lambda article: article.name,
            path=lambda article: article.xml_path,
            check=lambda article: has_md5(article.md5),
            some=some,
        )

    def _any_there(self, articles: list[Article]) -> bool:
        return any(content is not None for _, content in self._read(articles, some=False))

    def _remove(self, name: str) -> None:
        remove_package(self.out_dir / name)
        if name in self.state.files:
            self.state.forget(name)


def _content_of(article: Article) -> tuple[object, ...]:
    """What of an article is in a package and its list."""
    return (
        article.pmcid,
        article.version,
        article.md5,
        article.licence,
        article.pmid,
        article.retracted,
    )


def _metadata_check(pmcid: int, version: int, mark: int) -> Callable[[bytes, str], None]:
    """The metadata must be what the inventory lists, or else newer.

    Newer is what has the MD5 that the server gives, or comes twice the same.
    """
    seen: list[str] = []

    def check(content: bytes, etag: str) -> None:
        found = hashlib.md5(content).hexdigest()
        if mark_of(found) != mark and found != etag.lower() and found not in seen:
            seen.append(found)
            raise BadContent(f"MD5 is {found}, not that of the inventory")
        read_article(content, pmcid, version, mark)

    return check


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else -1
