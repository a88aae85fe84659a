"""XML to HDF5, stage by stage on one core, and what the whole corpus would take on 64.

    python benchmarks/pipeline_speed.py INPUT... [--articles 5e6]

INPUT are files or folders of PMC's full texts. Each stage runs in this process with one worker and
one thread; time is the processor's. The hours are for --articles full texts like these, the work of
all stages shared evenly by 64 cores.
"""

import argparse
import gzip
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["RAYON_NUM_THREADS"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

from data_preprocessing.bpe import train_tokenizer_from_parquet
from data_preprocessing.merge import merge_records
from data_preprocessing.merge_texts import TextRules
from data_preprocessing.pack import pack_corpus
from data_preprocessing.parse import find_files, parse_files


def xml_megabytes(paths: list[Path]) -> float:
    size = 0
    for path in paths:
        if path.suffix == ".gz":
            with gzip.open(path) as stream:
                while piece := stream.read(1 << 20):
                    size += len(piece)
        else:
            size += path.stat().st_size
    return size / 1e6


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("inputs", type=Path, nargs="+")
    parser.add_argument("--articles", type=float, default=5e6)
    parser.add_argument("--vocab_size", type=int, default=42384)
    arguments = parser.parse_args()
    total = xml_megabytes(find_files(arguments.inputs))
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        parse, counts = timed(lambda: parse_files(arguments.inputs, work / "parsed"))
        rules = TextRules(duplicates=True, near_duplicates=0.8)
        plain, _ = timed(lambda: merge_records(work / "parsed", work / "plain"))
        merge, merged = timed(
            lambda: merge_records(work / "parsed", work / "merged", text_rules=rules)
        )
        tokenizer = work / "tokenizer.json"
        timed(
            lambda: train_tokenizer_from_parquet(work / "merged", tokenizer, arguments.vocab_size)
        )
        pack, packed = timed(
            lambda: pack_corpus(work / "merged", tokenizer, work / "out", max_sequence_length=1024)
        )
    tokens = sum(params["n_tokens"] for params in packed.values())
    print(f"{total:.0f} MB of XML, {counts['records']:,} records, {tokens / 1e6:.1f} M tokens")
    stages = {"parse": parse, "merge": plain, "merge with MinHash": merge, "pack": pack}
    for name, taken in stages.items():
        print(f"{name}: {taken:.1f} s, {total / taken:.1f} MB of XML/s")
    whole = parse + merge + pack
    slowest = max(parse, merge, pack)
    print(f"all: {whole:.1f} s, {total / whole:.1f} MB/s per core, {whole / slowest:.2f} x slowest")
    hours = arguments.articles / merged["in"] * whole / 64 / 3600
    print(f"{arguments.articles / 1e6:.0f} M records like these on 64 cores: {hours:.2f} h")


if __name__ == "__main__":
    main()
