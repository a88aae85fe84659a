"""How the cost of a training step grows with sequence length, batch, size, sparsity, processes.

    python benchmarks/growth.py [--device cuda] [--axis length --axis sparsity]

One number of a small model is changed at a time. The table gives the time of a whole step, of a
token in it against the first row's, and what that would be if time went with the FLOPs that the
paper's formula counts. On a CPU the step is fp32 and sparsity is SparseKernels' (every layer); on a
GPU it is compiled bf16, and masks save nothing. Several processes share a batch through gloo (NCCL
on GPUs), each with one thread on a CPU. --processor_time takes what the (first) process worked,
which on one thread (OMP_NUM_THREADS=1) is what an idle machine would take.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from machine import machine
from steps import fresh_start, make_engine, make_model, number_of_heads, random_batch

from modelzoo_mediswift.data.batch import Share
from modelzoo_mediswift.engine.parallel import distribute
from modelzoo_mediswift.engine.processes import join, leave, started_processes
from modelzoo_mediswift.kernels.library import is_available
from modelzoo_mediswift.plan.flops import flops_per_token
from modelzoo_mediswift.sparsity.filters import SparsityRule
from modelzoo_mediswift.sparsity.masking import Masking


@dataclass(frozen=True)
class Case:
    """The names are those that the paper's formula asks a model for."""

    num_hidden_layers: int = 4
    hidden_size: int = 256
    vocab_size: int = 4096
    length: int = 256
    batch_size: int = 8
    sparsity: float = 0.0
    processes: int = 1

    @property
    def num_heads(self) -> int:
        return number_of_heads(self.hidden_size)

    @property
    def tokens(self) -> int:
        return self.batch_size * self.length

    @property
    def flops_per_token(self) -> int:
        weights = 12 * self.num_hidden_layers * self.hidden_size**2
        kept = round((1 - self.sparsity) * weights)
        return flops_per_token(self, kept, self.length).total


ON_CPU = Case()
ON_GPU = Case(6, 1024, 42384, 1024, 16)  # a quarter of Med's layers: each case is compiled
AXES = {
    "length": [("length", n) for n in (0.5, 1, 2, 4)],
    "batch": [("batch_size", n) for n in (0.25, 1, 2)],
    "width": [("hidden_size", n) for n in (0.5, 1, 2)],
    "layers": [("num_hidden_layers", n) for n in (0.5, 1, 2)],
    "sparsity": [("sparsity", n) for n in (0.0, 0.5, 0.75, 0.9)],
    "processes": [("processes", n) for n in (1, 2)],
}
ABSOLUTE = {"sparsity", "processes"}  # others are in units of the base case's


def cases(axis: str, base: Case) -> list[tuple[str, Case]]:
    """The cases of an axis, with the value that is changed; "length" keeps the tokens of a step."""
    found = []
    for name, value in AXES[axis]:
        now = value if name in ABSOLUTE else int(value * getattr(base, name))
        case = replace(base, **{name: now})
        if name == "length":
            case = replace(case, batch_size=max(1, base.tokens // now))
        found.append((f"{name} {now}", case))
    return found


def step_seconds(case: Case, arguments: argparse.Namespace) -> float:
    """The median time of a step in this process, together with the others of its run."""
    fresh_start()
    device_name = arguments.device
    clock = time.process_time if arguments.processor_time else time.perf_counter
    processes = started_processes()
    device = torch.device(device_name, processes.local_rank if device_name == "cuda" else None)
    join(processes, device)
    model = make_model(case.vocab_size, case.hidden_size, case.num_hidden_layers, case.length)
    on_gpu = device.type == "cuda"
    masking = Masking(model, [SparsityRule(case.sparsity)], seed=0) if case.sparsity else None
    module = distribute(model, device, processes, masking, compiled=on_gpu)
    engine = make_engine(
        model,
        masking,
        device=device,
        autocast=torch.bfloat16 if on_gpu else None,
        kernels=not on_gpu and is_available(),
        module=module,
        processes=processes,
    )
    rows = Share(processes.rank, processes.count).each(case.batch_size)
    batch = random_batch(case.vocab_size, rows, case.length, case.batch_size)
    times = []
    for step in range(arguments.steps + 2):  # the first two warm up
        start = clock()
        engine.train([batch], step, step + 1, 1, lambda result: True)
        times.append(clock() - start)
    return statistics.median(times[2:])


def in_processes(case: Case, arguments: argparse.Namespace) -> float:
    """The same in processes of their own; the first one's time."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc_per_node", str(case.processes), str(Path(__file__))]
    command += ["--device", arguments.device, "--steps", str(arguments.steps), "--one_of_many"]
    command += ["--processor_time"] * arguments.processor_time
    threads = {"OMP_NUM_THREADS": "1"} if arguments.device == "cpu" else {}
    done = subprocess.run(
        command, env=os.environ | threads, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise SystemExit(done.stderr[-2000:])
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--axis", choices=AXES, action="append", help="default: all")
    parser.add_argument("--steps", type=int, default=5, help="the median of so many")
    parser.add_argument("--processor_time", action="store_true", help="not the clock on the wall")
    parser.add_argument("--one_of_many", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    base = ON_GPU if arguments.device == "cuda" else ON_CPU
    if arguments.one_of_many:
        seconds = step_seconds(base, arguments)
        if started_processes().first:
            print(json.dumps(seconds))
        leave(0)
        return
    if arguments.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("--device cuda: PyTorch finds no CUDA device here")
    print(machine(arguments.device))
    print(base)
    print(f"{'':<24}{'s/step':>9}{'tokens/s':>11}{'a token':>9}{'by FLOPs':>10}")
    for axis in arguments.axis or AXES:
        first = None
        for label, case in cases(axis, base):
            if arguments.device == "cuda" and case.processes > torch.cuda.device_count():
                print(f"{label:<24} needs as many GPUs")
                continue
            if axis == "processes":
                seconds = in_processes(case, arguments)
            else:
                seconds = step_seconds(case, arguments)
            each = seconds / case.tokens
            first = first or (each, case.flops_per_token)
            by_flops = case.flops_per_token / first[1] / case.processes
            print(
                f"{label:<24}{seconds:>9.3f}{1 / each:>11,.0f}{each / first[0]:>9.2f}"
                f"{by_flops:>10.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
