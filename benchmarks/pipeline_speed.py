"""XML to HDF5: each stage's speed, all of them beside the slowest, and the hours for everything.

    python benchmarks/pipeline_speed.py PMC_PACKAGE... --pubmed PUBMED_FILE... [--copies 20]

Two corpora are measured apart: full texts (files or folders), and citations, repeated with other
PMIDs in one file, since samples are small and NLM's files are not. Time on one core is the
processor's, one worker and one thread; what a stage does in jobs, which any number of workers
share, is told from what one process must do alone. The last lines are a prediction: --articles and
--citations like these (36 million citations and 5 million articles unless said otherwise), jobs
shared evenly by 64 cores, one stage after the other. With --wall 2 all stages also run with two
workers, and the clock on the wall is taken.
"""

import argparse
import gzip
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ["RAYON_NUM_THREADS"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

from data_preprocessing.bpe import train_tokenizer_from_parquet
from data_preprocessing.merge import merge_records
from data_preprocessing.merge_texts import TextRules
from data_preprocessing.pack import pack_corpus
from data_preprocessing.parse import find_files, parse_files

CORES = 64
RULES = TextRules(duplicates=True, near_duplicates=0.8)


class Stopwatch:
    """An executor in this process that takes the time spent in jobs."""

    seconds = 0.0

    def run(self, work: Callable[[Any], Any], jobs: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        for number, job in enumerate(jobs):
            start = time.process_time()
            result = work(job)
            self.seconds += time.process_time() - start
            yield number, result


@dataclass
class Stage:
    """Seconds of a processor."""

    jobs: float
    alone: float

    @property
    def all(self) -> float:
        return self.jobs + self.alone


def renumbered(files: Sequence[Path], copies: int, out: Path) -> None:
    """All citations of PubMed files `copies` times in one file, as NLM's have 30,000 each.

    The PMIDs of every copy are in a range of their own.
    """
    citations = []
    for file in find_files(files):
        content = file.read_bytes()
        if file.suffix == ".gz":
            content = gzip.decompress(content)
        citations += re.findall(rb"<PubmedArticle>.*?</PubmedArticle>", content, re.DOTALL)
    once = b"\n".join(citations)
    with gzip.open(out, "wb", compresslevel=6) as stream:
        stream.write(b"<PubmedArticleSet>\n")
        for copy in range(copies):

            def moved(found: re.Match[bytes], shift: int = (copy + 1) * 10**8) -> bytes:
                return found[1] + str(int(found[2]) + shift).encode()

            stream.write(re.sub(rb"(<PMID[^>]*>)(\d+)", moved, once) + b"\n")
        stream.write(b"</PubmedArticleSet>\n")


def xml_megabytes(paths: Sequence[Path]) -> float:
    size = 0
    for path in paths:
        if path.suffix == ".gz":
            with gzip.open(path) as stream:
                while piece := stream.read(1 << 20):
                    size += len(piece)
        else:
            size += path.stat().st_size
    return size / 1e6


def stages(inputs: Sequence[Path], work: Path, vocab_size: int) -> dict[str, Stage]:
    """Run all stages on one core. The tokenizer is trained between them, and not counted."""
    times = {}

    def timed(name: str, run: Callable[[Stopwatch], Any]) -> None:
        watch = Stopwatch()
        start = time.process_time()
        run(watch)
        times[name] = Stage(watch.seconds, time.process_time() - start - watch.seconds)

    timed("parse", lambda watch: parse_files(inputs, work / "parsed", executor=watch))
    timed("merge", lambda _: merge_records(work / "parsed", work / "merged"))
    timed(
        "merge with MinHash",
        lambda watch: merge_records(
            work / "parsed", work / "fewer", text_rules=RULES, executor=watch
        ),
    )
    tokenizer = work / "tokenizer.json"
    train_tokenizer_from_parquet(work / "merged", tokenizer, vocab_size)
    timed(
        "pack",
        lambda watch: pack_corpus(
            work / "merged", tokenizer, work / "out", max_sequence_length=1024, executor=watch
        ),
    )
    return times


def on_the_wall(inputs: Sequence[Path], work: Path, workers: int) -> dict[str, float]:
    """The same stages with several workers, seconds on the wall; the tokenizer is there."""
    times = {}

    def timed(name: str, run: Callable[[], Any]) -> None:
        start = time.perf_counter()
        run()
        times[name] = time.perf_counter() - start

    there = work / "again"
    timed("parse", lambda: parse_files(inputs, there / "parsed", workers))
    timed("merge", lambda: merge_records(there / "parsed", there / "merged", workers=workers))
    timed(
        "pack",
        lambda: pack_corpus(
            there / "merged",
            work / "tokenizer.json",
            there / "out",
            max_sequence_length=1024,
            workers=workers,
        ),
    )
    return times


def measure(
    title: str, inputs: Sequence[Path], wanted: float, options: argparse.Namespace
) -> float:
    """Print a corpus' stages; return the hours for `wanted` records like these on 64 cores."""
    size = xml_megabytes(inputs)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        times = stages(inputs, work, options.vocab_size)
        counts = merge_records(work / "parsed", work / "counted")
        wall = on_the_wall(inputs, work, options.wall) if options.wall else {}
    print(f"{title}: {size:.0f} MB of XML, {counts['in']:,} records")
    for name, stage in times.items():
        share = stage.jobs / stage.all
        print(f"  {name}: {size / stage.all:.1f} MB/s per core, {share:.0%} of it in jobs")
    plain = [times[name].all for name in ("parse", "merge", "pack")]
    print(f"  all: {size / sum(plain):.1f} MB/s per core, {sum(plain) / max(plain):.2f} x slowest")
    full = [times[name].all for name in ("parse", "merge with MinHash", "pack")]
    print(
        f"  all, with MinHash: {size / sum(full):.1f} MB/s, {sum(full) / max(full):.2f} x slowest"
    )
    if wall:
        whole, slowest = sum(wall.values()), max(wall.values())
        told = ", ".join(f"{name} {seconds:.1f}" for name, seconds in wall.items())
        print(f"  {options.wall} workers, seconds on the wall: {told}: {whole / slowest:.2f} x")
    used = [times[name] for name in ("parse", "merge with MinHash", "pack")]
    factor = wanted / counts["in"] / 3600
    jobs = sum(stage.jobs for stage in used) * factor / CORES
    alone = sum(stage.alone for stage in used) * factor
    gigabytes = wanted / counts["in"] * size / 1000
    print(
        f"  {wanted:,.0f} like these ({gigabytes:,.0f} GB of XML) on {CORES} cores: "
        f"{jobs:.1f} h in jobs, {alone:.1f} h in one process"
    )
    return jobs + alone


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("articles_files", type=Path, nargs="+", metavar="PMC")
    parser.add_argument("--pubmed", type=Path, nargs="*", default=[])
    parser.add_argument("--copies", type=int, default=20)
    parser.add_argument("--articles", type=float, default=5e6)
    parser.add_argument("--citations", type=float, default=36e6)
    parser.add_argument("--vocab_size", type=int, default=42384)
    parser.add_argument("--wall", type=int, metavar="WORKERS")
    options = parser.parse_args()
    files = find_files(options.articles_files)
    hours = measure("full texts", files, options.articles, options)
    if options.pubmed:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "citations.xml.gz"
            renumbered(options.pubmed, options.copies, file)
            hours += measure("citations", [file], options.citations, options)
        print(f"both: {hours:.1f} h")


if __name__ == "__main__":
    main()
