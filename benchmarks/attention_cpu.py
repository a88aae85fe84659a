"""Our causal attention on a CPU, forward and backward, against PyTorch's.

    python benchmarks/attention_cpu.py [--dtypes float32 bfloat16] [--threads 1 2]
        [--shapes 2x16x1024x64 1x16x2048x128 ...]

The claim: at least twice as fast in fp32 and three times in bf16 at every shape, and no less exact;
on an Intel Xeon, whose AMX PyTorch uses too, 1.2 and 2.5 times. MEDISWIFT_INSTRUCTIONS=AVX-512-BF16
measures ours without AMX. Shapes are sequences x heads x tokens x width of a head; the error is
that of all results and gradients together against PyTorch's in fp64, relative to their size. Both
take turns; times are the least.
"""

import argparse
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from machine import machine
from torch import Tensor
from turns import take_turns

from modelzoo_mediswift.engine.freed_memory import keep_freed_memory
from modelzoo_mediswift.kernels.attention import causal_attention
from modelzoo_mediswift.kernels.library import is_available, load_library

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
SHAPES = ["8x8x128x32", "4x8x512x64", "2x16x1024x64", "1x16x2048x64", "1x16x2048x128"]


def pytorchs(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(query, key, value, is_causal=True)


WAYS = {"PyTorch": pytorchs, "ours": causal_attention}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", type=shape, nargs="+", default=[shape(s) for s in SHAPES])
    parser.add_argument("--dtypes", nargs="+", choices=DTYPES, default=list(DTYPES))
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--turns", type=int, default=7)
    arguments = parser.parse_args()
    dtypes = [dtype for dtype in arguments.dtypes if has_kernels(dtype)]
    if lacking := [dtype for dtype in arguments.dtypes if dtype not in dtypes]:
        print(f"not measured: there is no compiled attention here in {', '.join(lacking)}")
    if not dtypes:
        return
    keep_freed_memory()  # as every run does
    print(machine())
    print(
        f"{'shape':<16} {'dtype':<9} {'threads':>7} {'PyTorch':>10} {'ours':>10} {'ratio':>6}  "
        "errors of both"
    )
    for dtype in dtypes:
        for threads in arguments.threads:
            torch.set_num_threads(threads)
            for size in arguments.shapes:
                print(
                    f"{'x'.join(map(str, size)):<16} {dtype:<9} {threads:>7} "
                    + compared(random_inputs(size, dtype), arguments.turns),
                    flush=True,
                )


def has_kernels(dtype: str) -> bool:
    if not is_available():
        return False
    library = load_library()
    return library.has_avx512 if dtype == "float32" else library.multiplies_bf16


def compared(inputs: list[Tensor], turns: int) -> str:
    """The times of both, their ratio and the errors of both."""
    seconds = take_turns(
        {name: partial(results, way, inputs) for name, way in WAYS.items()}, turns, warm_up=2
    )
    exact = results(pytorchs, [x.double() for x in inputs])
    errors = [error(results(way, inputs), exact) for way in WAYS.values()]
    return (
        "".join(f"{1000 * each.least:>8.1f} ms" for each in seconds.values())
        + f" {seconds['PyTorch'].least / seconds['ours'].least:>6.2f}"
        + "".join(f"  {each:.2g}" for each in errors)
    )


def shape(text: str) -> tuple[int, ...]:
    numbers = tuple(int(part) if part.isdecimal() else 0 for part in text.split("x"))
    if len(numbers) != 4 or not all(numbers):
        raise argparse.ArgumentTypeError(
            f"expected sequences x heads x tokens x width, as 2x16x1024x64, got {text}"
        )
    return numbers


def random_inputs(size: tuple[int, ...], dtype: str) -> list[Tensor]:
    """Query, key, value and the result's gradient, as a model's projections lie in memory."""
    sequences, heads, tokens, width = size
    return [
        torch.randn(sequences, tokens, heads, width).to(DTYPES[dtype]).transpose(1, 2)
        for _ in range(4)
    ]


def results(way: Callable[..., Tensor], inputs: list[Tensor]) -> list[Tensor]:
    """The result, and the gradients of query, key and value."""
    taken = [x.detach().requires_grad_() for x in inputs[:3]]
    out = way(*taken)
    return [out.detach(), *torch.autograd.grad(out, taken, inputs[3])]


def error(found: list[Tensor], exact: list[Tensor]) -> float:
    differences = [(a - b).norm() / b.norm() for a, b in zip(found, exact, strict=True)]
    return torch.stack(differences).mean().item()


if __name__ == "__main__":
    main()
