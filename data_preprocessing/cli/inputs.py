"""`sample`, `fetch`, `fetch_pmc` and `parse` on the command line: where the records come from."""

import json
import sys
from pathlib import Path
from typing import Any

from data_preprocessing.cli.options import (
    add_out,
    add_stage,
    add_workers,
    executor_of,
    not_negative,
    positive,
)
from data_preprocessing.cli.show import print_counts
from data_preprocessing.only_one import only_one
from modelzoo_mediswift.errors import UserError

_NAMED = 20  # articles on the terminal


def add_sample(stages: Any) -> None:
    stage = add_stage(
        stages, "sample", _sample, "generate the sample corpus (all stages can use it)"
    )
    stage.add_argument("out", type=Path, metavar="OUT", help="folder to write")
    stage.add_argument("--seed", type=int, default=0, help="another seed, another corpus")
    stage.add_argument("--scale", type=float, default=1.0, help="1.0 is its usual size")


def _sample(out: Path, seed: int, scale: float) -> None:
    from data_preprocessing.sample import write_sample

    with only_one(out):
        counts: Any = write_sample(out, seed=seed, scale=scale)["counts"]
    print_counts(f"sample corpus in {out}", counts)


def add_fetch(stages: Any) -> None:
    from data_preprocessing.file_sets import FILE_SETS, NLM, PUBMED

    stage = add_stage(
        stages, "fetch", _fetch, "bring PubMed's files here, verified; again: what is new"
    )
    stage.add_argument("out", type=Path, metavar="OUT", help="folder, with one folder per set")
    stage.add_argument(
        "--sets",
        nargs="+",
        default=list(PUBMED),
        choices=list(FILE_SETS),
        metavar="SET",
        help=", ".join(FILE_SETS),
    )
    stage.add_argument("--base_url", default=NLM, help="NLM, any mirror of it, or a local folder")
    stage.add_argument(
        "--names", type=Path, metavar="FILE", help="names of the files, instead of the listing"
    )
    stage.add_argument("--newest", type=positive, metavar="N", help="only the last N of each set")
    stage.add_argument("--connections", type=positive, default=3, help="at the same time")
    stage.add_argument(
        "--interval",
        type=not_negative,
        metavar="X",
        default=0.34,
        help="seconds between two requests, at least",
    )
    stage.add_argument("--prune", action="store_true", help="remove what the server has removed")


def _fetch(out: Path, sets: list[str], names: Path | None, **options: Any) -> None:
    from data_preprocessing.fetch import fetch_files

    listed = None if names is None else _read_words(names)
    report = fetch_files(out, sets, names=listed, **options)
    failed = 0
    for name, told in report.items():
        shown = {key: len(told[key]) for key in ("new", "changed", "gone", "failed")}
        print_counts(
            str(out / name), {"listed": told["listed"], "unchanged": told["unchanged"], **shown}
        )
        for file, error in told["failed"].items():
            failed += 1
            print(f"error: {file}: {error}", file=sys.stderr)
    if failed:
        total = sum(len(t["new"]) + len(t["changed"]) + t["unchanged"] for t in report.values())
        raise UserError(f"{failed} of {total + failed} files could not be fetched; run it again")


def add_fetch_pmc(stages: Any) -> None:
    from data_preprocessing.file_sets import GROUPS, PMC_BUCKET

    stage = add_stage(
        stages,
        "fetch_pmc",
        _fetch_pmc,
        "bring PMC's articles here, in packages; again: what is new",
    )
    stage.add_argument("out", type=Path, metavar="OUT", help="folder of packages")
    stage.add_argument(
        "--groups",
        nargs="+",
        default=list(GROUPS),
        choices=list(GROUPS),
        metavar="GROUP",
        help=f"licences: {', '.join(GROUPS)}",
    )
    stage.add_argument(
        "--base_url", default=PMC_BUCKET, help="the bucket, or a copy of it: a URL or a folder"
    )
    stage.add_argument("--packages", type=positive, metavar="N", help="only the first N")
    stage.add_argument(
        "--start", type=int, default=0, metavar="PMCID", help="begin with this one's package"
    )
    stage.add_argument(
        "--historical_ocr", action="store_true", help="texts of scanned articles too"
    )
    stage.add_argument("--connections", type=positive, default=16, help="at the same time")
    stage.add_argument(
        "--interval",
        type=not_negative,
        metavar="X",
        default=0.0,
        help="seconds between two requests, at least",
    )
    stage.add_argument(
        "--max_failed", type=int, default=100, metavar="N", help="give up after so many failures"
    )
    stage.add_argument(
        "--prune",
        action="store_true",
        help="believe an inventory that lists a tenth less than the last one",
    )


def _fetch_pmc(out: Path, **options: Any) -> None:
    from data_preprocessing.fetch_pmc import fetch_pmc
    from data_preprocessing.pmc_changes import CHANGES

    report = fetch_pmc(out, **options)
    report.pop("files")
    gone, failed = report.pop("gone"), report.pop("failed")
    print_counts(str(out), report | {"gone": len(gone), "failed": len(failed)})
    for why in [*gone.values(), *failed.values()][:_NAMED]:
        print(f"error: {why}", file=sys.stderr)
    if (more := len(gone) + len(failed) - _NAMED) > 0:
        print(f"error: {more} more are in {out / CHANGES}", file=sys.stderr)
    if failed:
        raise UserError(f"{len(failed)} articles could not be fetched; run it again")


def _read_words(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error})") from None


def add_parse(stages: Any) -> None:
    stage = add_stage(stages, "parse", _parse, "read PubMed XML and PMC JATS into Parquet records")
    stage.add_argument(
        "inputs",
        type=Path,
        nargs="+",
        metavar="INPUT",
        help="*.xml, *.xml.gz, *.nxml, *.tar.gz, or folders of them",
    )
    add_out(stage, "folder of one Parquet file per input, with counts.json")
    stage.add_argument(
        "--captions", action="store_true", help="full texts: keep figures' and tables' captions"
    )
    stage.add_argument(
        "--table_text", action="store_true", help="full texts: keep tables, a row to a line"
    )
    stage.add_argument(
        "--sub_articles",
        action="store_true",
        help="full texts: keep decision letters, responses and the like (never translations)",
    )
    add_workers(stage, "files read at the same time")


def _parse(inputs: list[Path], out: Path, workers: int, dask: str | None, **options: bool) -> None:
    from data_preprocessing.jats_rules import JatsOptions
    from data_preprocessing.parse import parse_files

    with only_one(out), executor_of(dask) as executor:
        counts = parse_files(inputs, out, workers, executor, JatsOptions(**options))
    print_counts(f"records in {out}", counts)
    files = json.loads((out / "counts.json").read_text(encoding="utf-8"))["files"]
    failed = [file for file in files if file["error"] is not None]
    for file in failed:
        told = file["error"].removeprefix(f"{file['input']}: ")
        print(f"error: {file['input']}: {told}", file=sys.stderr)
    if failed:
        raise UserError(
            f"{len(failed)} of {len(files)} files could not be read to the end; "
            f"{out} holds what could be read"
        )
