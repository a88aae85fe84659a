"""What this machine can do at most: matrix products per second, and bytes per second.

    python benchmarks/roofline.py [--device cpu] [--size 2048]

The best of several repetitions. A kernel that does less than (products / bandwidth) operations per
byte is limited by memory, one that does more by arithmetic. On a machine that others use too,
OMP_NUM_THREADS=1 and --processor_time give what one idle core would do.
"""

import argparse
import time
from collections.abc import Callable

import torch
from machine import machine


def best_seconds(work: Callable[[], object], arguments: argparse.Namespace) -> float:
    clock = time.process_time if arguments.processor_time else time.perf_counter
    times = []
    for _ in range(arguments.repeat + 1):  # the first warms up
        start = clock()
        work()
        if arguments.device == "cuda":
            torch.cuda.synchronize()
        times.append(clock() - start)
    return min(times[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--size", type=int, default=2048, help="rows and columns of the matrices")
    parser.add_argument("--megabytes", type=int, default=512, help="of the array that is copied")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--processor_time", action="store_true", help="not the clock on the wall")
    arguments = parser.parse_args()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("--device cuda: PyTorch finds no CUDA device here")
    print(machine(arguments.device))
    n, device = arguments.size, arguments.device
    rates = {}
    for dtype in (torch.float32, torch.bfloat16):
        a, b = (torch.randn(n, n, device=device).to(dtype) for _ in range(2))
        seconds = best_seconds(lambda a=a, b=b: a @ b, arguments)
        rates[dtype] = 2 * n**3 / seconds
        print(f"{n} x {n} x {n} in {str(dtype)[6:]}: {rates[dtype] / 1e9:,.0f} GFLOP/s")
    source = torch.zeros(arguments.megabytes * 2**20 // 4, device=device)
    target = torch.empty_like(source)
    seconds = best_seconds(lambda: target.copy_(source), arguments)
    bandwidth = 2 * source.nbytes / seconds
    print(f"copy of {arguments.megabytes} MiB: {bandwidth / 1e9:,.1f} GB/s read and written")
    for dtype, rate in rates.items():
        print(f"ridge in {str(dtype)[6:]}: {rate / bandwidth:,.0f} FLOP per byte")


if __name__ == "__main__":
    main()
