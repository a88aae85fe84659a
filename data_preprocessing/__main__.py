"""From PubMed and PMC to HDF5 on the command line: python -m data_preprocessing STAGE."""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from data_preprocessing.only_one import only_one
from data_preprocessing.pmid_lists import read_pmids
from modelzoo_mediswift.errors import UserError

EXAMPLE = """\
the whole way, in one command:
  python -m data_preprocessing run data_preprocessing/configs/sample.yaml

the same, stage by stage:
  python -m data_preprocessing sample work/sample
  python -m data_preprocessing parse work/sample/pubmed work/sample/pmc -o work/parsed
  python -m data_preprocessing merge work/parsed -o work/records
  python -m data_preprocessing tokenizer work/records -o work/tokenizer.json --vocab_size 2048
  python -m data_preprocessing pack work/records -t work/tokenizer.json -o work/packed \\
      --max_sequence_length 256
  python -m data_preprocessing finetune pubmedqa work/sample/pubmedqa -t work/tokenizer.json \\
      -o work/pubmedqa --max_sequence_length 256
  python -m data_preprocessing inspect work/packed -t work/tokenizer.json
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one stage; 0 if it worked, 2 for a user's mistake, 130 after Ctrl-C."""
    arguments = vars(_parser().parse_args(argv))
    run: Callable[..., None] = arguments.pop("run")
    try:
        run(**arguments)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:  # a full disk, a folder that may not be written
        where = f"{error.filename}: " if error.filename else ""
        print(f"error: {where}{error.strerror or error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; nothing half-written was kept", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m data_preprocessing",
        description="From PubMed and PMC files to HDF5 for training, one stage at a time.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    stages = parser.add_subparsers(metavar="STAGE", required=True)
    for add in (
        _add_sample,
        _add_fetch,
        _add_parse,
        _add_merge,
        _add_tokenizer,
        _add_pack,
        _add_finetune,
        _add_inspect,
        _add_card,
        _add_run,
    ):
        add(stages)
    return parser


def _add_sample(stages: Any) -> None:
    stage = _stage(stages, "sample", _sample, "generate the sample corpus (all stages can use it)")
    stage.add_argument("out", type=Path, metavar="OUT", help="folder to write")
    stage.add_argument("--seed", type=int, default=0, help="another seed, another corpus")
    stage.add_argument("--scale", type=float, default=1.0, help="size relative to the default")


def _sample(out: Path, seed: int, scale: float) -> None:
    from data_preprocessing.sample import write_sample

    counts: Any = write_sample(out, seed=seed, scale=scale)["counts"]
    _print_counts(f"sample corpus in {out}", counts)


def _add_fetch(stages: Any) -> None:
    from data_preprocessing.file_sets import FILE_SETS, NLM

    stage = _stage(stages, "fetch", _fetch, "bring NLM's files here, verified; again: what is new")
    stage.add_argument("out", type=Path, metavar="OUT", help="folder, with one folder per set")
    stage.add_argument(
        "--sets",
        nargs="+",
        default=list(FILE_SETS),
        choices=list(FILE_SETS),
        metavar="SET",
        help=", ".join(FILE_SETS),
    )
    stage.add_argument("--base_url", default=NLM, help="NLM, any mirror of it, or a local folder")
    stage.add_argument(
        "--names", type=Path, metavar="FILE", help="names of the files, instead of the listing"
    )
    stage.add_argument("--newest", type=_positive, metavar="N", help="only the last N of each set")
    stage.add_argument("--connections", type=_positive, default=3, help="at the same time")
    stage.add_argument(
        "--interval", type=float, default=0.34, help="seconds between two requests, at least"
    )
    stage.add_argument("--prune", action="store_true", help="remove what the server has removed")


def _fetch(out: Path, sets: list[str], names: Path | None, **options: Any) -> None:
    from data_preprocessing.fetch import fetch_files

    listed = None if names is None else _read_words(names)
    report = fetch_files(out, sets, names=listed, **options)
    failed = 0
    for name, told in report.items():
        shown = {key: len(told[key]) for key in ("new", "changed", "gone", "failed")}
        _print_counts(
            str(out / name), {"listed": told["listed"], "unchanged": told["unchanged"], **shown}
        )
        for file, error in told["failed"].items():
            failed += 1
            print(f"error: {file}: {error}", file=sys.stderr)
    if failed:
        total = sum(len(t["new"]) + len(t["changed"]) + t["unchanged"] for t in report.values())
        raise UserError(f"{failed} of {total + failed} files could not be fetched; run it again")


def _add_parse(stages: Any) -> None:
    stage = _stage(stages, "parse", _parse, "read PubMed XML and PMC JATS into Parquet records")
    stage.add_argument(
        "inputs",
        type=Path,
        nargs="+",
        metavar="INPUT",
        help="*.xml, *.xml.gz, *.nxml, *.tar.gz, or folders of them",
    )
    _add_out(stage, "folder of one Parquet file per input, with counts.json")
    stage.add_argument("--workers", type=_positive, default=1, help="files read at the same time")


def _parse(inputs: list[Path], out: Path, workers: int) -> None:
    from data_preprocessing.parse import parse_files

    with only_one(out):
        counts = parse_files(inputs, out, workers=workers)
    _print_counts(f"records in {out}", counts)
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


def _add_merge(stages: Any) -> None:
    stage = _stage(
        stages, "merge", _merge, "one document per article: last revision, deletions, filters"
    )
    stage.add_argument("parsed", type=Path, metavar="DIR", help="what `parse` wrote")
    _add_out(stage, "folder for train.parquet, validation.parquet, counts.json")
    stage.add_argument(
        "--validation_share", type=float, default=0.03, help="of the documents, chosen by PMID"
    )
    stage.add_argument("--seed", type=int, default=0, help="decides which documents validate")
    stage.add_argument(
        "--exclude_pmids",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="leave these out: JSON with PMIDs as keys or in a list (PubMedQA's "
        "test_ground_truth.json), or text with one PMID per line",
    )
    stage.add_argument(
        "--languages", nargs="+", metavar="LANG", help="keep only these (eng fre ...; default all)"
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
    stage.add_argument("--ngram", type=_positive, default=13, help="words in such a run")
    stage.add_argument("--workers", type=_positive, default=1, help="processes that read the texts")


def _merge(
    parsed: Path,
    out: Path,
    exclude_pmids: list[Path],
    duplicates: bool,
    near_duplicates: float | None,
    decontaminate: list[Path],
    ngram: int,
    **options: Any,
) -> None:
    from data_preprocessing.merge import merge_records
    from data_preprocessing.merge_texts import TextRules

    excluded = set().union(*(read_pmids(path) for path in exclude_pmids))
    rules = TextRules(duplicates, near_duplicates, tuple(decontaminate), ngram)
    with only_one(out):
        counts = merge_records(
            parsed, out, exclude_pmids=excluded or None, text_rules=rules, **options
        )
    _print_counts(f"documents in {out}", counts)


def _add_tokenizer(stages: Any) -> None:
    stage = _stage(stages, "tokenizer", _tokenizer, "train Moses + BPE on the training documents")
    stage.add_argument("records", type=Path, metavar="DIR", help="what `merge` wrote")
    _add_out(stage, "tokenizer.json to write")
    stage.add_argument(
        "--vocab_size", type=_positive, default=42384, help="entries, special tokens included"
    )
    stage.add_argument(
        "--max_documents", type=_positive, help="train on a sample of so many (default: all)"
    )
    stage.add_argument(
        "--check",
        type=_positive,
        metavar="N",
        help="then compare with sacremoses, and decode again, N validation documents",
    )


def _tokenizer(
    records: Path, out: Path, vocab_size: int, max_documents: int | None, check: int | None
) -> None:
    from data_preprocessing.bpe import load_tokenizer, train_tokenizer_from_parquet

    counts = train_tokenizer_from_parquet(records, out, vocab_size, max_documents=max_documents)
    _print_counts(f"tokenizer in {out}", counts)
    if check is not None:
        from data_preprocessing import tokenizer_check
        from data_preprocessing.pack import read_texts

        texts = list(islice(read_texts(records / "validation.parquet"), check))
        compared = tokenizer_check.compare_with_sacremoses(texts)
        print(tokenizer_check.format_comparison(compared))
        returned = tokenizer_check.measure_round_trip(load_tokenizer(out), texts)
        print(tokenizer_check.format_round_trip(returned))


def _add_pack(stages: Any) -> None:
    stage = _stage(stages, "pack", _pack, "documents to packed sequences in HDF5")
    stage.add_argument("records", type=Path, metavar="DIR", help="what `merge` wrote")
    _add_tokenizer_option(stage, required=True)
    _add_out(stage, "folder for train/ and validation/, each with *.h5 and data_params.json")
    _add_hdf5_options(stage)
    stage.add_argument(
        "--layout",
        choices=("sample", "corpus"),
        default="sample",
        help="sample: sequences of one length; corpus: one stream of tokens, cut when read",
    )
    stage.add_argument("--seed", type=int, default=0, help="decides the order of the documents")
    stage.add_argument(
        "--packing",
        choices=("concatenate", "best_fit"),
        default="concatenate",
        help="best_fit cuts only documents longer than a sequence, and pads",
    )
    stage.add_argument("--workers", type=_positive, default=1, help="processes that tokenize")


def _pack(records: Path, tokenizer: Path, out: Path, **options: Any) -> None:
    from data_preprocessing.pack import pack_corpus

    with only_one(out):
        splits = pack_corpus(records, tokenizer, out, **options)
    _print_splits(out, splits)


def _add_finetune(stages: Any) -> None:
    stage = _stage(stages, "finetune", _finetune, "a task's examples to HDF5, with soft prompts")
    stage.add_argument("task", metavar="TASK", help="pubmedqa, hoc, hoc_sentence")
    stage.add_argument("input_path", type=Path, metavar="INPUT", help="the task's file or folder")
    _add_tokenizer_option(stage, required=True)
    _add_out(stage, "folder for train/, validation/, test/")
    _add_hdf5_options(stage)
    stage.add_argument(
        "--num_virtual_tokens", type=int, help="length of the soft prompt (default: the task's)"
    )
    stage.add_argument(
        "--vocab_size", type=_positive, help="the model's (default: the tokenizer's)"
    )
    stage.add_argument("--fold", type=int, help="of PubMedQA's cross-validation, 0 (default) to 9")
    stage.add_argument(
        "--include_long_answer",
        action="store_true",
        default=None,
        help="put PubMedQA's long answer first",
    )


def _finetune(task: str, input_path: Path, tokenizer: Path, out: Path, **options: Any) -> None:
    from data_preprocessing.finetune import finetune_task

    with only_one(out):
        splits = finetune_task(task, input_path, tokenizer, out, **options)
    _print_splits(out, splits)


def _add_inspect(stages: Any) -> None:
    stage = _stage(stages, "inspect", _inspect, "show sequences of an HDF5 file as text")
    stage.add_argument("path", type=Path, metavar="FILE_OR_DIR")
    _add_tokenizer_option(stage, required=False)
    stage.add_argument("-i", "--index", type=int, default=0, help="first sequence to show")
    stage.add_argument("-n", "--count", type=_positive, default=1, help="how many")
    stage.add_argument(
        "--max_sequence_length", type=_positive, help="for the corpus layout (default 128)"
    )


def _inspect(
    path: Path, tokenizer: Path | None, index: int, count: int, max_sequence_length: int | None
) -> None:
    from data_preprocessing.bpe import load_tokenizer
    from data_preprocessing.inspect_hdf5 import describe_sequence, open_any

    source = open_any(path, max_sequence_length)
    decoder = None if tokenizer is None else load_tokenizer(tokenizer)
    for number in range(index, min(index + count, max(len(source), index + 1))):
        print(describe_sequence(source, number, decoder, colour=sys.stdout.isatty()))


def _add_card(stages: Any) -> None:
    stage = _stage(stages, "card", _card, "what is in a corpus: tables and plots")
    stage.add_argument("merged", type=Path, metavar="DIR", help="what `merge` wrote")
    stage.add_argument("--parsed", type=Path, metavar="DIR", help="what `parse` wrote")
    stage.add_argument("--packed", type=Path, metavar="DIR", help="what `pack` wrote")
    _add_out(stage, "folder for card.md, card.html and the plots")


def _card(merged: Path, out: Path, parsed: Path | None, packed: Path | None) -> None:
    from data_preprocessing.card import write_card

    with only_one(out):
        counts = write_card(merged, out, parsed_dir=parsed, packed_dir=packed)
    _print_counts(f"card in {out}", counts)


def _add_run(stages: Any) -> None:
    stage = _stage(stages, "run", _run, "all stages of a configuration, from wherever it stopped")
    stage.add_argument("config", type=Path, metavar="CONFIG.yaml", help="see configs/")


def _run(config: Path) -> None:
    from data_preprocessing.run import run_stages
    from data_preprocessing.run_config import load_run_config

    checked = load_run_config(config)
    print(f"in {run_stages(checked, _print_counts)}")


def _read_words(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error})") from None


def _stage(
    stages: Any, name: str, run: Callable[..., None], summary: str
) -> argparse.ArgumentParser:
    formatter = argparse.ArgumentDefaultsHelpFormatter
    stage = stages.add_parser(name, help=summary, description=summary, formatter_class=formatter)
    stage.set_defaults(run=run)
    return stage


def _add_out(stage: argparse.ArgumentParser, text: str) -> None:
    stage.add_argument("-o", "--out", type=Path, required=True, metavar="OUT", help=text)


def _add_tokenizer_option(stage: argparse.ArgumentParser, *, required: bool) -> None:
    stage.add_argument(
        "-t", "--tokenizer", type=Path, required=required, metavar="FILE", help="tokenizer.json"
    )


def _add_hdf5_options(stage: argparse.ArgumentParser) -> None:
    stage.add_argument(
        "--max_sequence_length", type=_positive, required=True, metavar="N", help="in tokens"
    )
    stage.add_argument(
        "--samples_per_file", type=_positive, default=8192, metavar="N", help="sequences per *.h5"
    )
    stage.add_argument(
        "--compression", choices=["gzip", "lz4"], help="smaller, but slower to write and read"
    )


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


_positive.__name__ = "positive number"  # what argparse calls it in its message


def _print_splits(out: Path, splits: Mapping[str, Mapping[str, Any]]) -> None:
    for split, params in splits.items():
        shown = {
            "sequences": params["n_examples"],
            "tokens": params["n_tokens"],
            "tokens in the loss": params["n_loss_tokens"],
            **params["counts"],
        }
        _print_counts(str(out / split), shown)


def _print_counts(title: str, counts: Mapping[str, Any], indent: int = 0) -> None:
    """Print a mapping as indented lines, inner mappings further in."""
    print(" " * indent + title)
    for name, value in counts.items():
        label = str(name).replace("_", " ")
        if isinstance(value, Mapping):
            if value:
                _print_counts(label, value, indent + 2)
        elif isinstance(value, int):
            print(f"{' ' * indent}  {label}: {value:,}")
        else:
            print(f"{' ' * indent}  {label}: {value}")


if __name__ == "__main__":
    sys.exit(main())
