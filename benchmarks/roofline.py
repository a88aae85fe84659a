"""What this machine can do at most: matrix products per second, and bytes per second.

    python benchmarks/roofline.py [--size 2048]
    python benchmarks/roofline.py --device cuda --tokens 16384

`--tokens` adds the matrix products of the paper's three models on a micro-batch of so many tokens,
in bf16: no training step can do better than these.

Each figure is the best of several repetitions. A kernel that does less than (products / bandwidth)
operations per byte is limited by memory, one that does more by arithmetic. On a machine that
others use too, OMP_NUM_THREADS=1 and --processor_time give what one idle core would do.
"""

import argparse
import time
from collections.abc import Callable

import torch
from machine import machine

WIDTHS = {"med": 1024, "large": 1536, "xl": 2048}  # Table 5
LAYERS = {f"{name} d x d": (d, d) for name, d in WIDTHS.items()}
LAYERS |= {f"{name} d x 4d": (d, 4 * d) for name, d in WIDTHS.items()}
LAYERS |= {f"{name} 4d x d": (4 * d, d) for name, d in WIDTHS.items()}
LAYERS |= {f"{name} head": (d, 42496) for name, d in WIDTHS.items()}  # V, padded as in the loss


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


def product_rate(
    rows: int, inner: int, columns: int, dtype: torch.dtype, arguments: argparse.Namespace
) -> float:
    """FLOP/s of a product of random matrices (zeros multiply faster)."""
    a = torch.randn(rows, inner, device=arguments.device).to(dtype)
    b = torch.randn(inner, columns, device=arguments.device).to(dtype)
    return 2 * rows * inner * columns / best_seconds(lambda: a @ b, arguments)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--size", type=int, help="rows and columns of the matrices")
    parser.add_argument("--megabytes", type=int, help="of the array that is copied")
    parser.add_argument("--tokens", type=int, help="the models' products too, with so many rows")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--processor_time", action="store_true", help="not the clock on the wall")
    arguments = parser.parse_args()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("--device cuda: PyTorch finds no CUDA device here")
    print(machine(arguments.device))
    # Many times what a device's caches hold, and enough work to fill it.
    size, megabytes = (8192, 4096) if arguments.device == "cuda" else (2048, 512)
    n, megabytes = arguments.size or size, arguments.megabytes or megabytes
    rates = {}
    for dtype in (torch.float32, torch.bfloat16):
        rates[dtype] = product_rate(n, n, n, dtype, arguments)
        print(f"{n} x {n} x {n} in {str(dtype)[6:]}: {rates[dtype] / 1e9:,.0f} GFLOP/s")
    source = torch.rand(megabytes * 2**20 // 4, device=arguments.device)
    target = torch.empty_like(source)
    seconds = best_seconds(lambda: target.copy_(source), arguments)
    bandwidth = 2 * source.nbytes / seconds
    print(f"copy of {megabytes} MiB: {bandwidth / 1e9:,.1f} GB/s read and written")
    for dtype, rate in rates.items():
        print(f"ridge in {str(dtype)[6:]}: {rate / bandwidth:,.1f} FLOP per byte")
    if arguments.tokens:
        print(f"{'bf16 GFLOP/s':<14}{'forward':>10}{'by input':>10}{'by weight':>10}")
        for name, (inputs, outputs) in LAYERS.items():
            shapes = (
                (arguments.tokens, inputs, outputs),
                (arguments.tokens, outputs, inputs),
                (outputs, arguments.tokens, inputs),
            )
            found = (product_rate(*shape, torch.bfloat16, arguments) for shape in shapes)
            print(f"{name:<14}" + "".join(f"{rate / 1e9:>10,.0f}" for rate in found), flush=True)


if __name__ == "__main__":
    main()
