"""From the command to the first step of params/tiny_s75.yaml on the CPU, and to a plan's end.

    python benchmarks/startup.py [--repeat 3] [--files params/xl_s75.yaml]

The claims: under 4 s, and under 0.5 s. The data are random tokens of the demo's shape: 2,048
sequences of 256 to train on, 64 to validate. Both commands are run as a user would run them, in
fresh processes; the first step's time is when its line appears. On a machine that others use too,
--processor_time takes what the processor worked, on one thread.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np
from machine import machine, processor_seconds

ROOT = Path(__file__).parents[1]
WORDS, LENGTH = 2048, 256
TRAIN, VALIDATION = 2048, 64


def write_data(folder: Path) -> None:
    generator = np.random.default_rng(0)
    for split, count in (("train", TRAIN), ("validation", VALIDATION)):
        tokens = generator.integers(0, WORDS, (count, LENGTH + 1), dtype=np.int32)
        rows = np.stack([tokens[:, :-1], np.ones((count, LENGTH), np.int32), tokens[:, 1:]], axis=1)
        (folder / split).mkdir()
        with h5py.File(folder / split / "data.h5", "w") as file:
            file["data"] = rows
            file.attrs["n_examples"] = count


def write_config(folder: Path) -> Path:
    text = (ROOT / "params" / "tiny_s75.yaml").read_text()
    for old, new in (
        ("./build/demo/pretrain_data", str(folder)),
        ("./build/demo/pretrain", str(folder / "run")),
        ("log_steps: 10", "log_steps: 1"),
    ):
        assert old in text
        text = text.replace(old, new)
    path = folder / "tiny_s75.yaml"
    path.write_text(text)
    return path


def seconds_to_first_step(config: Path, processor_time: bool) -> float:
    """Until the first step's line; the run is stopped then."""
    command = [sys.executable, "run.py", "CPU", "--params", str(config), "--max_steps", "2"]
    start = time.perf_counter()
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("step 1/"):
                seconds = time.perf_counter() - start
                if processor_time:
                    seconds = processor_seconds(process.pid)
                process.kill()
                return seconds
    raise SystemExit("the run ended before its first step")


def seconds_to_plan(files: list[str], processor_time: bool) -> float:
    command = [sys.executable, "-m", "modelzoo_mediswift.cli.main", "plan", *files]
    start, used = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    now = resource.getrusage(resource.RUSAGE_CHILDREN)
    if processor_time:
        return now.ru_utime - used.ru_utime + now.ru_stime - used.ru_stime
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=3, help="runs of each; the median counts")
    parser.add_argument("--files", nargs="+", default=["params/xl_s75.yaml"], help="what to plan")
    parser.add_argument("--processor_time", action="store_true", help="on one thread")
    arguments = parser.parse_args()
    if arguments.processor_time:
        os.environ["OMP_NUM_THREADS"] = "1"
    print(machine())
    first, plan = [], []
    for _ in range(arguments.repeat):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write_data(folder)
            first.append(seconds_to_first_step(write_config(folder), arguments.processor_time))
        plan.append(seconds_to_plan(arguments.files, arguments.processor_time))
    for what, times in (("first step", first), ("mediswift plan", plan)):
        print(f"{what}: {statistics.median(times):.2f} s (median of {len(times)})")


if __name__ == "__main__":
    main()
