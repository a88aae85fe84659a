"""`tokenizer`, `pack`, `finetune` and `inspect` on the command line: texts to HDF5, and back."""

import sys
from itertools import islice
from pathlib import Path
from typing import Any

from data_preprocessing.cli.options import (
    add_hdf5_options,
    add_out,
    add_stage,
    add_tokenizer_option,
    add_workers,
    executor_of,
    positive,
)
from data_preprocessing.cli.show import print_counts, print_splits
from data_preprocessing.only_one import only_one


def add_tokenizer(stages: Any) -> None:
    stage = add_stage(
        stages, "tokenizer", _tokenizer, "train Moses + BPE on the training documents"
    )
    stage.add_argument("records", type=Path, metavar="DIR", help="what `merge` wrote")
    add_out(stage, "tokenizer.json to write")
    stage.add_argument(
        "--vocab_size", type=positive, default=42384, help="entries, special tokens included"
    )
    stage.add_argument(
        "--max_documents",
        type=positive,
        metavar="N",
        help="train on a sample of so many, as many of each source, by year (default: all)",
    )
    stage.add_argument("--seed", type=int, default=0, help="decides which documents are sampled")
    stage.add_argument(
        "--check",
        type=positive,
        metavar="N",
        help="then compare with sacremoses, and decode again, N validation documents",
    )


def _tokenizer(
    records: Path,
    out: Path,
    vocab_size: int,
    max_documents: int | None,
    seed: int,
    check: int | None,
) -> None:
    from data_preprocessing.bpe import load_tokenizer, train_tokenizer_from_parquet

    with only_one(out, is_file=True):
        counts = train_tokenizer_from_parquet(records, out, vocab_size, max_documents, seed)
    print_counts(f"tokenizer in {out}", counts)
    if check is not None:
        from data_preprocessing import tokenizer_check
        from data_preprocessing.pack import read_texts

        texts = list(islice(read_texts(records / "validation.parquet"), check))
        if not texts:
            print("nothing to check with: no validation documents")
            return
        compared = tokenizer_check.compare_with_sacremoses(texts)
        print(tokenizer_check.format_comparison(compared))
        returned = tokenizer_check.measure_round_trip(load_tokenizer(out), texts)
        print(tokenizer_check.format_round_trip(returned))


def add_pack(stages: Any) -> None:
    stage = add_stage(stages, "pack", _pack, "documents to packed sequences in HDF5")
    stage.add_argument("records", type=Path, metavar="DIR", help="what `merge` wrote")
    add_tokenizer_option(stage, required=True)
    add_out(stage, "folder for train/ and validation/, each with *.h5 and data_params.json")
    add_hdf5_options(stage)
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
    add_workers(stage, "processes that tokenize")


def _pack(records: Path, tokenizer: Path, out: Path, dask: str | None, **options: Any) -> None:
    from data_preprocessing.pack import pack_corpus

    with only_one(out), executor_of(dask) as executor:
        splits = pack_corpus(records, tokenizer, out, executor=executor, **options)
    print_splits(out, splits)
    if "validation" not in splits:
        print(f"{out / 'validation'}: not written, there are no documents to validate with")


def add_finetune(stages: Any) -> None:
    stage = add_stage(stages, "finetune", _finetune, "a task's examples to HDF5, with soft prompts")
    stage.add_argument("task", metavar="TASK", help="pubmedqa, hoc, hoc_sentence")
    stage.add_argument("input_path", type=Path, metavar="INPUT", help="the task's file or folder")
    add_tokenizer_option(stage, required=True)
    add_out(stage, "folder for train/, validation/, test/")
    add_hdf5_options(stage)
    stage.add_argument(
        "--num_virtual_tokens", type=int, help="length of the soft prompt (default: the task's)"
    )
    stage.add_argument("--vocab_size", type=positive, help="the model's (default: the tokenizer's)")
    stage.add_argument(
        "--subset", choices=["pqal", "pqaa", "pqau"], help="of PubMedQA (default: pqal)"
    )
    stage.add_argument(
        "--labels_file",
        type=Path,
        metavar="FILE",
        help="for pqau: JSON of PMID to yes, no or maybe, as `mediswift label` writes it; "
        "questions without are left out",
    )
    stage.add_argument("--fold", type=int, help="of PubMedQA's cross-validation, 0 (default) to 9")
    stage.add_argument(
        "--prompt_position",
        choices=("between", "before"),
        default="between",
        help="of the soft prompt: between source and target (default), or before the source",
    )
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
    print_splits(out, splits)


def add_inspect(stages: Any) -> None:
    stage = add_stage(stages, "inspect", _inspect, "show sequences of an HDF5 file as text")
    stage.add_argument("path", type=Path, metavar="FILE_OR_DIR")
    add_tokenizer_option(stage, required=False)
    stage.add_argument("-i", "--index", type=int, default=0, help="first sequence to show")
    stage.add_argument("-n", "--count", type=positive, default=1, help="how many")
    stage.add_argument(
        "--max_sequence_length", type=positive, help="for the corpus layout (default: 128)"
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
