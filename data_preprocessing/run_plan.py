"""`run --plan`: what each stage would do and what is done, with estimates; nothing is written."""

import struct
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_preprocessing.jats_rules import JatsOptions
from data_preprocessing.parse import find_files, kind_of, parsed_before
from data_preprocessing.run import Stages, made_of, sizes
from data_preprocessing.run_config import Fetch, FetchPmc, RunConfig
from modelzoo_mediswift.config.section import Section
from modelzoo_mediswift.errors import UserError

CITATIONS, FULL_TEXTS = "citations", "full texts"

# docs/data_at_scale.md: bytes of XML that one core does in a second ...
SPEED = {
    "parse": {CITATIONS: 66.6e6, FULL_TEXTS: 41.0e6},
    "merge": {CITATIONS: 827e6, FULL_TEXTS: 202e6},
    "merge with MinHash": {CITATIONS: 148e6, FULL_TEXTS: 43e6},
    "pack": {CITATIONS: 23.3e6, FULL_TEXTS: 6.4e6},
}
# ... and the bytes on the disk that come of one byte of XML.
SHARE = {
    "parse": {CITATIONS: 0.05, FULL_TEXTS: 0.11},
    "merge": {CITATIONS: 0.04, FULL_TEXTS: 0.11},
    "pack": {CITATIONS: 0.23, FULL_TEXTS: 0.74},
}


@dataclass(frozen=True)
class Step:
    """A stage, as it stands."""

    stage: str
    todo: str
    gigabytes: float | None = None
    """What it would write, estimated."""
    hours: float | None = None


def plan_table(config: RunConfig) -> str:
    """The plan as lines for a terminal.

    Raises:
        UserError: an input is of no known kind, or the state of an earlier run is damaged.
    """
    plan = _Plan(config)
    plan.all()
    rows: list[tuple[str, ...]] = [("stage", "", "GB", "hours")]
    for step in plan.steps:
        numbers = (step.gigabytes, step.hours)
        rows.append((step.stage, step.todo, *map(_rounded, numbers)))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = [
        f"{stage:<{widths[0]}}  {todo:<{widths[1]}}  {size:>{widths[2]}}  {hours:>{widths[3]}}"
        for stage, todo, size, hours in rows
    ]
    lines.append("GB written and hours are estimates, from the files that are here alone")
    return "\n".join(line.rstrip() for line in lines)


def _rounded(number: float | None) -> str:
    if number is None:
        return ""
    return f"{number:,.0f}" if number >= 100 else f"{number:.2g}"


class _Plan(Stages):
    """Goes through the stages as `run` does; each says what it would do instead of doing it."""

    def __init__(self, config: RunConfig) -> None:
        super().__init__(config, Path(config.out), lambda *_: None, None)
        self.steps: list[Step] = []
        self._xml: Counter[str] = Counter()
        self._to_be_made: list[Path] = []

    def fetch(self, fetch: Fetch) -> Path:
        folder = self.out / "fetched"
        self._asks("fetch", folder, f"{fetch.base_url} for {', '.join(fetch.sets)}")
        return folder

    def fetch_pmc(self, section: FetchPmc) -> list[Path]:
        folder = self.out / "fetched_pmc"
        what = "all packages" if section.packages is None else f"{section.packages} packages"
        self._asks(
            "fetch_pmc", folder, f"{section.base_url} for {what} of {', '.join(section.groups)}"
        )
        return sorted(folder.glob("pmc_*.tar.gz"))[: section.packages]

    def _asks(self, stage: str, folder: Path, whom: str) -> None:
        here = sizes(folder)
        total = sum(here.values()) / 1e9
        self.steps.append(Step(stage, f"ask {whom}; here: {len(here)} files, {total:.2f} GB"))

    def parse(self, inputs: list[Path], jats: JatsOptions) -> None:
        parsed = self.out / "parsed"
        if given := [Path(path) for path in self.config.parse.inputs]:
            find_files(given)
        try:
            files = parsed_before([path for path in inputs if path.exists()], parsed, jats)
        except UserError:
            files = []  # nothing generated or fetched yet
        todo: Counter[str] = Counter()
        for path, is_done in files:
            kind, size = _kind(path), expanded_size(path)
            self._xml[kind] += size
            todo[kind] += 0 if is_done else size
        missing = sum(not is_done for _, is_done in files)
        first = next((path for path in inputs if self._is_to_be_made(path)), None)
        if first is not None:
            text = f"to do after {self._maker(first)}"
        elif missing or not files:
            text = f"to do: {missing} of the {len(files)} files that are here"
        else:
            text = f"done, unless a file has changed: {len(files)} files"
        if first or missing or not files or not (parsed / "counts.json").exists():
            self._to_be_made.append(parsed)
        self.steps.append(self._step("parse", text, todo, "parse", self.config.parse.workers))

    def stage(
        self,
        name: str,
        section: Section,
        inputs: list[Path],
        folder: Path,
        make: Callable[[], dict[str, Any]],
        *,
        resumes: bool = False,
    ) -> None:
        known = self.state.get(name, {})
        waits = [path for path in inputs if not path.is_file() or self._is_to_be_made(path)]
        if waits:
            todo = f"to do {'again ' if 'files' in known else ''}after {self._maker(waits[0])}"
        else:
            is_same = known.get("made_from") == made_of(section, inputs)
            if is_same and known.get("files") == sizes(folder):
                self.steps.append(Step(name, "done"))
                return
            todo = "to do"
            if known:
                todo = "to do again: other settings or inputs"
            if is_same and "files" not in known:
                todo = "to continue" if resumes else "to do again: it was interrupted"
        self._to_be_made.append(folder)
        speed = name
        if name == "merge" and self.config.merge.near_duplicates is not None:
            speed = "merge with MinHash"
        workers = getattr(section, "workers", 1)
        self.steps.append(self._step(name, todo, self._xml, speed, workers))

    def _is_to_be_made(self, path: Path) -> bool:
        return any(path.is_relative_to(folder) for folder in self._to_be_made)

    def _maker(self, path: Path) -> str:
        inside = path.is_relative_to(self.out)
        return path.relative_to(self.out).parts[0] if inside else f"{path} is there"

    def _step(self, name: str, todo: str, xml: Counter[str], speed: str, workers: int) -> Step:
        """With the estimates for a stage that reads so much XML, or what was made of it."""
        if speed not in SPEED or not xml.total():
            return Step(name, todo)
        size = sum(xml[kind] * share for kind, share in SHARE[name].items())
        seconds = sum(xml[kind] / each for kind, each in SPEED[speed].items())
        return Step(name, todo, size / 1e9, seconds / workers / 3600)


def _kind(path: Path) -> str:
    try:
        return CITATIONS if kind_of(path) == "pubmed" else FULL_TEXTS
    except UserError:
        return FULL_TEXTS  # `parse` will say what is wrong with it


def expanded_size(path: Path) -> int:
    """Bytes of a file, of a gzip file decompressed (modulo 4 GiB, as the format notes them)."""
    size = path.stat().st_size
    with path.open("rb") as handle:
        if handle.read(2) != b"\x1f\x8b" or size < 18:
            return size
        handle.seek(-4, 2)
        (noted,) = struct.unpack("<I", handle.read(4))
    return int(noted)
