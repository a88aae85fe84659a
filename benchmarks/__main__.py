"""All benchmarks that need no GPU, one after another; what they print goes to a dated file.

    make bench        or        python benchmarks [NAME...]

A benchmark is a line in BENCHMARKS. The file, benchmarks/results/DATE.md, names the machine and
holds each command with its output and time; a benchmark that fails is named at the end.
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
LIMIT = 120  # seconds for one of them: 14 minutes for all

# Name -> arguments of the script of that name.
BENCHMARKS: dict[str, list[list[str]]] = {
    "startup": [[]],
    "roofline": [[]],
    "masking_cost": [["--layers", "2"]],
    "gpu_step": [["med_dense", "med_s75", "--device", "cpu", "--tiny"]],
    "scoring": [["--bf16"]],
    "parse_speed": [[]],
    "sparse_cpu": [[]],
}


def run(name: str, arguments: list[str]) -> tuple[str, bool]:
    """The benchmark's section of the results, and whether it ended well."""
    start = time.perf_counter()
    try:
        done = subprocess.run(
            [sys.executable, str(HERE / f"{name}.py"), *arguments],
            cwd=HERE.parent,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=LIMIT,
        )
        output, good = done.stdout, done.returncode == 0
    except subprocess.TimeoutExpired:
        output, good = f"stopped after {LIMIT} s\n", False
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
    for name in names:
        for arguments in BENCHMARKS[name]:
            print(f"{name} {' '.join(arguments)}", file=sys.stderr)
            section, good = run(name, arguments)
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
