"""`merge` and `card` on the command line: which records stay, and what they are."""

from pathlib import Path
from typing import Any

from data_preprocessing.cli.options import (
    add_out,
    add_stage,
    add_workers,
    executor_of,
    positive,
)
from data_preprocessing.cli.show import print_counts
from data_preprocessing.only_one import only_one
from data_preprocessing.pmid_lists import pmid_file, read_pmids


def add_merge(stages: Any) -> None:
    stage = add_stage(
        stages, "merge", _merge, "one document per article: last revision, deletions, filters"
    )
    stage.add_argument("parsed", type=Path, metavar="DIR", help="what `parse` wrote")
    add_out(stage, "folder for train.parquet, validation.parquet, counts.json")
    stage.add_argument(
        "--validation_share", type=float, default=0.03, help="of the documents, chosen by PMID"
    )
    stage.add_argument("--seed", type=int, default=0, help="decides which documents validate")
    stage.add_argument(
        "--exclude_pmids",
        nargs="+",
        default=[],
        metavar="FILE",
        help="leave these out: pubmedqa, hoc (the test sets' lists that come with the project), "
        "or files: JSON with PMIDs as keys or in a list, or text with PMIDs",
    )
    stage.add_argument(
        "--languages", nargs="+", metavar="LANG", help="keep only these (eng fre ...; default: all)"
    )
    stage.add_argument("--keep_retracted", action="store_true", help="keep retracted publications")
    stage.add_argument(
        "--licences", nargs="+", metavar="CODE", help="keep only full texts under these (CC-BY ...)"
    )
    stage.add_argument(
        "--prefer_fulltext", action="store_true", help="a full text replaces its abstract"
    )
    stage.add_argument(
        "--duplicates", action="store_true", help="of equal texts keep only the first"
    )
    stage.add_argument(
        "--near_duplicates",
        type=float,
        metavar="SHARE",
        help="the same for texts that share so many of their five-word runs, such as 0.8 (MinHash)",
    )
    stage.add_argument(
        "--decontaminate",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="evaluation files: leave out what shares a long run of words with one",
    )
    stage.add_argument("--ngram", type=positive, default=13, help="words in such a run")
    add_workers(stage, "processes that read the texts")


def _merge(
    parsed: Path,
    out: Path,
    exclude_pmids: list[str],
    duplicates: bool,
    near_duplicates: float | None,
    decontaminate: list[Path],
    ngram: int,
    dask: str | None,
    **options: Any,
) -> None:
    from data_preprocessing.merge import merge_records
    from data_preprocessing.merge_texts import TextRules

    excluded = set().union(*(read_pmids(pmid_file(name)) for name in exclude_pmids))
    rules = TextRules(duplicates, near_duplicates, tuple(decontaminate), ngram)
    with only_one(out), executor_of(dask) as executor:
        counts = merge_records(
            parsed,
            out,
            exclude_pmids=excluded or None,
            text_rules=rules,
            executor=executor,
            **options,
        )
    print_counts(f"documents in {out}", counts)


def add_card(stages: Any) -> None:
    stage = add_stage(stages, "card", _card, "what is in a corpus: tables and plots")
    stage.add_argument("merged", type=Path, metavar="DIR", help="what `merge` wrote")
    stage.add_argument("--parsed", type=Path, metavar="DIR", help="what `parse` wrote")
    stage.add_argument("--packed", type=Path, metavar="DIR", help="what `pack` wrote")
    add_out(stage, "folder for card.md, card.html and the plots")


def _card(merged: Path, out: Path, parsed: Path | None, packed: Path | None) -> None:
    from data_preprocessing.card import write_card

    with only_one(out):
        counts = write_card(merged, out, parsed_dir=parsed, packed_dir=packed)
    print_counts(f"card in {out}", counts)
