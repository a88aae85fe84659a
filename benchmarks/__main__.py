"""All benchmarks that need no GPU, one after another; what they print goes to a dated file.

    make bench        or        python benchmarks [NAME...]

A benchmark is a line in BENCHMARKS. The file, benchmarks/results/DATE.md, names the machine and
holds each command with its output and time; a benchmark that fails is named at the end. What needs
text gets the generated sample corpus, which is made once under build/bench. Those that need real
files, Cerebras software or a GPU are run by hand: parse_speed, pipeline_speed, fetch_pmc_speed,
csx_validation, modelzoo_cpu, gpu_step and gpu_peers, of which the last two run here on a small
shape, to see that they work.
"""

import argparse
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from machine import machine

HERE = Path(__file__).parent
RESULTS = HERE / "results"
LIMIT = 180  # seconds for one of them
ALL = 840  # and for all

DATA = Path("build/bench")
TOKENIZER = str(DATA / "tokenizer.json")
# Made in this order, where the target is not there yet.
STAGES = {
    "sample": "sample build/bench/sample",
    "parsed": "parse build/bench/sample/pubmed build/bench/sample/pmc -o build/bench/parsed",
    "merged": "merge build/bench/parsed -o build/bench/merged",
    "tokenizer.json": "tokenizer build/bench/merged -o build/bench/tokenizer.json "
    "--vocab_size 2048",
    "packed": "pack build/bench/merged -t build/bench/tokenizer.json -o build/bench/packed "
    "--max_sequence_length 256",
    "questions": "finetune pubmedqa build/bench/sample/pubmedqa -t build/bench/tokenizer.json "
    "-o build/bench/questions --max_sequence_length 256",
}

# Name -> arguments of the script of that name.
BENCHMARKS: dict[str, list[str]] = {
    "startup": [],
    "roofline": [],
    "profile_step": ["--steps", "2"],
    "step_memory": ["--vocab_size", "2048", "--sequence_length", "256", "--batch_sizes", "32"],
    "masking_cost": ["--layers", "2", "--steps", "3"],
    "sparse_cpu": ["--part", "step", "--turns", "3"],
    "attention_cpu": [],
    "growth": ["--steps", "3"],
    "gpu_step": ["med_dense", "med_s75", "--device", "cpu", "--tiny"],
    "gpu_peers": ["--device", "cpu", "--tiny"],
    "scoring": ["--bf16", "--layers", "6", "--questions", "6"],
    "loader_reads": [str(DATA / "packed/train"), "--copies", "2"],
    "moses": [str(DATA / "merged"), "--tokenizer", TOKENIZER, "--max_lines", "4000"],
    "padding": [str(DATA / "questions/train"), "--epochs", "2"],
}


def prepare_data() -> None:
    """The sample corpus through all data stages."""
    for target, command in STAGES.items():
        if not (HERE.parent / DATA / target).exists():
            print(command, file=sys.stderr)
            done = subprocess.run(
                [sys.executable, "-m", "data_preprocessing", *command.split()],
                cwd=HERE.parent,
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode != 0:
                raise SystemExit(done.stderr[-2000:])


def run(name: str, limit: float) -> tuple[str, bool]:
    """The benchmark's section of the results, and whether it ended well."""
    arguments = BENCHMARKS[name]
    start = time.perf_counter()
    try:
        done = subprocess.run(
            [sys.executable, str(HERE / f"{name}.py"), *arguments],
            cwd=HERE.parent,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=limit,
        )
        output, good = done.stdout, done.returncode == 0
    except subprocess.TimeoutExpired as stopped:
        said = stopped.stdout or b""  # bytes, whatever was asked for
        said = said.decode() if isinstance(said, bytes) else said
        output, good = f"{said}stopped after {limit:.0f} s\n", False
    seconds = time.perf_counter() - start
    command = " ".join(["python", f"benchmarks/{name}.py", *arguments])
    return f"## {command}\n\n{seconds:.0f} s\n\n```\n{output.rstrip()}\n```\n", good


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="default: all")
    names = parser.parse_args().names or list(BENCHMARKS)
    unknown = sorted(set(names) - set(BENCHMARKS))
    if unknown:
        parser.error(f"unknown {', '.join(unknown)} (known: {', '.join(BENCHMARKS)})")
    now = datetime.now(UTC)
    sections, failed = [f"# Benchmarks of {now:%Y-%m-%d %H:%M} UTC\n\n{machine()}\n"], []
    if any(str(DATA) in argument for name in names for argument in BENCHMARKS[name]):
        prepare_data()
    end = time.monotonic() + ALL
    for name in names:
        print(name, file=sys.stderr)
        section, good = run(name, max(1.0, min(LIMIT, end - time.monotonic())))
        sections.append(section)
        failed += [] if good else [name]
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{now:%Y-%m-%d_%H%M}.md"
    path.write_text("\n".join(sections), encoding="utf-8")
    print(path)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
