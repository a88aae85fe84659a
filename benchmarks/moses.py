"""Moses inside tokenizer.json against sacremoses: equality and speed, on one core.

    python benchmarks/moses.py data/merged --tokenizer data/tokenizer.json [--max_lines 20000]

The first argument is what `python -m data_preprocessing merge` wrote. Both ways end in the same
BPE; the time is the processor's, and both run in this process, one after the other.
"""

import argparse
import os
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path

os.environ["RAYON_NUM_THREADS"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

from sacremoses import MosesTokenizer
from tokenizers import normalizers

from data_preprocessing.bpe import document_text, load_tokenizer
from data_preprocessing.records import read_batches
from data_preprocessing.tokenizer_check import compare_with_sacremoses, format_comparison


def lines_of(folder: Path) -> list[str]:
    lines = []
    for name in ("train.parquet", "validation.parquet"):
        for batch in read_batches(folder / name, ["title", "text"]):
            for row in batch.to_pylist():
                lines += document_text(row["title"], row["text"]).split("\n")
    return [line for line in lines if line.strip()]


def seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--max_lines", type=int, default=20_000, help="evenly spread (all: 0)")
    arguments = parser.parse_args()

    lines = lines_of(arguments.folder)
    step = max(1, len(lines) // arguments.max_lines) if arguments.max_lines else 1
    lines = list(islice(lines, 0, None, step))
    print(format_comparison(compare_with_sacremoses(lines)))

    ours, bpe = load_tokenizer(arguments.tokenizer), load_tokenizer(arguments.tokenizer)
    bpe.normalizer = normalizers.Sequence([normalizers.Prepend(" "), normalizers.ByteLevel()])
    moses = MosesTokenizer("en")

    def reference() -> list[list[int]]:
        words = [
            moses.tokenize(line, aggressive_dash_splits=True, escape=True, return_str=True)
            for line in lines
        ]
        return [e.ids for e in bpe.encode_batch_fast(words, add_special_tokens=False)]

    def inside() -> list[list[int]]:
        return [e.ids for e in ours.encode_batch_fast(lines, add_special_tokens=False)]

    same = sum(a == b for a, b in zip(reference(), inside(), strict=True))
    times = {"sacremoses, then BPE": seconds(reference), "tokenizer.json": seconds(inside)}
    size = sum(len(line.encode()) for line in lines)
    for name, taken in times.items():
        print(f"{name}: {size / taken / 1e6:.2f} MB/s")
    slow, fast = times.values()
    print(f"ratio {slow / fast:.1f}; same ids on {same:,} of {len(lines):,} lines")


if __name__ == "__main__":
    main()
