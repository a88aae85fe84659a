"""`run.py CSX --validate_only` on configuration files: time, memory, and what was lowered.

    .venv-cerebras/bin/python benchmarks/csx_validation.py [params/xl_s75.yaml ...]

The claim for XL: under 30 s and 2 GB. Every file runs as a user would run it, in a fresh process;
each stage of a recipe is a row. Memory is the largest sum over the processes alive at one time
(the compiler's front end runs beside Python). No data is needed. `s` is by the clock, and means
something on an idle machine alone.
"""

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import yaml
from machine import machine

from modelzoo_mediswift.cerebras.cirh import read_program

ROOT = Path(__file__).parents[1]
PAGE = 4096


@dataclass
class Validation:
    """One run of the command."""

    seconds: float  # by the clock
    cpu: float  # seconds of processor time, which other programs change little
    peak: float  # GB
    code: int
    errors: str


def default_files() -> list[str]:
    found = [*ROOT.glob("params/*.yaml"), *ROOT.glob("params/sparsity/*.yaml")]
    found += ROOT.glob("params/finetune/*.yaml")
    return [str(path.relative_to(ROOT)) for path in sorted(found)]


def stages(file: str) -> int:
    """Trainers in the file; 1 where it is not a list of them."""
    trainer = yaml.safe_load((ROOT / file).read_text())["trainer"]
    return len(trainer) if isinstance(trainer, list) else 1


def resident(pid: int) -> int:
    """Bytes of a process and its descendants; 0 for one that has gone."""
    total = 0
    with contextlib.suppress(OSError):
        total = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            total += sum(resident(int(child)) for child in children.read_text().split())
    return total


def validate(file: str, folder: str, *flags: str) -> Validation:
    program, params = str(ROOT / "run.py"), str(ROOT / file)
    command = [sys.executable, program, "CSX", "--params", params, "--validate_only", *flags]
    start = time.perf_counter()
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            command, cwd=folder, stdout=subprocess.DEVNULL, stderr=errors, text=True
        )
        peak = done = 0
        while not done:
            peak = max(peak, resident(process.pid))
            done, status, used = os.wait4(process.pid, os.WNOHANG)
            time.sleep(0.02)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - start
        errors.seek(0)
        cpu = used.ru_utime + used.ru_stime
        return Validation(seconds, cpu, peak / 1e9, process.returncode, errors.read())


def row(name: str, run: Validation, folder: str) -> str:
    if run.code:
        return f"| {name} | failed | | | | {run.errors.splitlines()[-1] if run.errors else ''} |"
    programs = sorted(Path(folder).glob("**/executors/0*/cirh.mlir"))
    training = read_program(programs[0])
    levels = Counter(training.sparsity.values())
    sparse = ", ".join(f"{count} at {level:g}" for level, count in sorted(levels.items()))
    products = training.products.total()
    figures = f"{run.cpu:.1f} | {run.seconds:.1f} | {run.peak:.2f} | {products}"
    return f"| {name} | {figures} | {sparse or 'none'} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", help="default: all of params/ but sweeps")
    files = parser.parse_args().files or default_files()
    print(machine(), flush=True)
    print("| file | CPU s | s | GB | matrix products | sparse tensors |")
    print("|---|---|---|---|---|---|")
    for file in files:
        count = stages(file)
        for stage in range(1, count + 1):
            with tempfile.TemporaryDirectory() as folder:
                flags = ["--stage", str(stage)] if count > 1 else []
                run = validate(file, folder, *flags)
                name = f"{file}, stage {stage}" if count > 1 else file
                print(row(name, run, folder), flush=True)


if __name__ == "__main__":
    main()
