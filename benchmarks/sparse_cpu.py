"""Sparse training on a CPU against masked-dense training, and decoding with sparse weights.

    python benchmarks/sparse_cpu.py [--part step --sparsity 0.75 --vocab_size 42384 ...]

The claims, for layers of the Med shape (d = 1024): a whole training step (forward, backward,
clipping, AdamW) is at least 2 times as fast as masked-dense fp32 at 75 % and 1.4 times at 50 %,
and at 75 % 1.25 times as fast as dense bf16 where the processor multiplies bf16 without AMX; a
sparse weight takes at most 0.4 times the memory of a dense one at 75 %; decoding at batch 1 is at
least 2 times as fast as dense. An AMD EPYC keeps them; on an Intel Xeon with AMX steps in fp32 are
1.7 and 1.2 times as fast (docs/sparse_cpu.md). Peers and we take turns in one run; times are the
least, beside which steps have their medians. `--part kernels` prints the rates of single products,
in dense-equivalent GFLOP/s: what a dense product would have to reach to take as long. On a machine
that others use too, `--processor_time` counts the time of the processor instead of the clock's; it
is for one thread.
"""

import argparse
from collections.abc import Callable

import torch
import torch.nn.functional as F
from machine import machine
from steps import make_engine, make_model, random_batch, share_of_zeros
from turns import take_turns

from modelzoo_mediswift.engine.freed_memory import keep_freed_memory
from modelzoo_mediswift.engine.sparse_reading import compress_where_faster
from modelzoo_mediswift.engine.torch_engine import TorchEngine
from modelzoo_mediswift.kernels.library import is_available, load_library
from modelzoo_mediswift.kernels.pattern import Pattern, pack
from modelzoo_mediswift.model.generate import Prefix, read_prefix
from modelzoo_mediswift.model.gpt3 import GPT3
from modelzoo_mediswift.model.packed import pack_linear_layers
from modelzoo_mediswift.sparsity.filters import SparsityRule
from modelzoo_mediswift.sparsity.masking import MASK_SUFFIX, Masking

CACHED, DECODED = 64, 4  # tokens of the decoding part
SETTLING = 3  # turns until steps take no new memory from the system


def shaped_model(arguments: argparse.Namespace, length: int) -> GPT3:
    return make_model(arguments.vocab_size, arguments.hidden_size, arguments.layers, length)


def prepare(
    arguments: argparse.Namespace, sparsity: float, kernels: bool, autocast: torch.dtype | None
) -> TorchEngine:
    model = shaped_model(arguments, arguments.sequence_length)
    masking = Masking(model, [SparsityRule(sparsity)], seed=0) if sparsity else None
    return make_engine(model, masking, autocast=autocast, kernels=kernels)


def step_part(arguments: argparse.Namespace) -> None:
    """Whole steps: masked-dense fp32, dense bf16, and ours in both kinds of arithmetic."""
    size = (arguments.batch_size, arguments.sequence_length)
    batch = random_batch(arguments.vocab_size, *size)
    masked = f"masked-dense fp32, {arguments.sparsity[0]:.0%}"
    engines = {
        masked: prepare(arguments, arguments.sparsity[0], False, None),
        "dense bf16": prepare(arguments, 0.0, False, torch.bfloat16),
    }
    mixed = "sparse bf16" if load_library().multiplies_bf16 else "sparse, rest bf16"
    for sparsity in arguments.sparsity:
        engines[f"sparse fp32, {sparsity:.0%}"] = prepare(arguments, sparsity, True, None)
        engines[f"{mixed}, {sparsity:.0%}"] = prepare(arguments, sparsity, True, torch.bfloat16)
    done = dict.fromkeys(engines, 0)

    def step(name: str) -> None:
        at = done[name]
        engines[name].train([batch], at, at + 1, 1, lambda result: True)
        done[name] += 1

    contenders = {name: lambda name=name: step(name) for name in engines}
    seconds = take_turns(
        contenders, arguments.turns, processor_time=arguments.processor_time, warm_up=SETTLING
    )
    print(
        f"\nTraining step: {arguments.layers} layers, d = {arguments.hidden_size}, vocabulary "
        f"{arguments.vocab_size:,}, batch {size[0]} x {size[1]}"
    )
    for which in ("least", "median"):
        print(f"{which:<26} {'s/step':>8} {'against masked-dense':>21} {'against dense bf16':>19}")
        of = {name: getattr(each, which) for name, each in seconds.items()}
        for name, value in of.items():
            print(
                f"{name:<26} {value:>8.3f} {of[masked] / value:>21.2f} "
                f"{of['dense bf16'] / value:>19.2f}"
            )


def kernels_part(arguments: argparse.Namespace) -> None:
    """Single products beside PyTorch's dense ones."""
    d, tokens = arguments.hidden_size, arguments.batch_size * arguments.sequence_length
    print(f"\nProducts of {tokens} tokens, dense-equivalent GFLOP/s")
    print(f"{'out x in':<12} {'':<15} {'forward':>8} {'input':>8} {'weights':>8}")
    for out, into in ((d, d), (4 * d, d), (d, 4 * d)):
        x, dy = torch.randn(tokens, into), torch.randn(tokens, out)
        weight, bias = torch.randn(out, into), torch.randn(out)
        half = [t.bfloat16() for t in (x, dy, weight, bias)]
        tiles = {"fp32": (pack(x), pack(dy))}
        if load_library().multiplies_bf16:
            tiles["bf16"] = (pack(x, torch.bfloat16), pack(dy, torch.bfloat16))
        work: dict[str, Callable[[], object]] = {
            "dense fp32 forward": lambda x=x, w=weight, b=bias: F.linear(x, w, b),
            "dense fp32 input": lambda dy=dy, w=weight: dy @ w,
            "dense fp32 weights": lambda x=x, dy=dy: dy.t() @ x,
            "dense bf16 forward": lambda h=half: F.linear(h[0], h[2], h[3]),
            "dense bf16 input": lambda h=half: h[1] @ h[2],
            "dense bf16 weights": lambda h=half: h[1].t() @ h[0],
        }
        for sparsity in arguments.sparsity:
            p = Pattern(torch.rand(out, into) >= sparsity)
            values = p.compress(weight)
            for kind, (xs, ys) in tiles.items():
                name = f"{sparsity:.0%} sparse {kind}"
                work[f"{name} forward"] = lambda p=p, v=values, b=bias, x=xs: p.multiply(v, b, x)
                work[f"{name} input"] = lambda p=p, v=values, y=ys: p.multiply_transposed(v, y)
                work[f"{name} weights"] = lambda p=p, y=ys, x=xs: p.gradient(y, x)
        flops = 2 * tokens * out * into
        seconds = take_turns(work, arguments.turns, processor_time=arguments.processor_time)
        rates = {name: flops / s.least / 1e9 for name, s in seconds.items()}
        for name in dict.fromkeys(name.rpartition(" ")[0] for name in work):
            each = [rates[f"{name} {what}"] for what in ("forward", "input", "weights")]
            print(
                f"{f'{out} x {into}':<12} {name:<15}" + "".join(f" {rate:>8.0f}" for rate in each)
            )


def memory_part(arguments: argparse.Namespace) -> None:
    """Weight, gradient, two moments, lists and mask of a layer's six matrices."""
    d = arguments.hidden_size
    shapes = [(d, d)] * 4 + [(4 * d, d), (d, 4 * d)]
    total = sum(rows * cols for rows, cols in shapes)
    print("\nBytes of a weight in training; dense: 16 and a mask's 1")
    for sparsity in arguments.sparsity:
        held = 0
        for shape in shapes:
            mask = torch.rand(shape) >= sparsity
            pattern = Pattern(mask)
            held += 4 * pattern.compress(mask.float()).nbytes + pattern.num_bytes + mask.nbytes
        print(f"{sparsity:.0%} sparse: {held / total:.2f}, {held / total / 16:.2f} x dense")


def decode_part(arguments: argparse.Namespace) -> None:
    """One token after another at batch 1, on a cache of 64 tokens, as `mediswift generate` has
    models: what is dense is packed. Beside it PyTorch's own linear layers."""
    length = CACHED + DECODED
    models = {"dense, not packed": shaped_model(arguments, length)}
    models["dense"] = shaped_model(arguments, length)
    pack_linear_layers(models["dense"])
    for sparsity in arguments.sparsity:
        model = shaped_model(arguments, length)
        masks = {
            f"{p.name}{MASK_SUFFIX}": p.mask
            for p in Masking(model, [SparsityRule(sparsity)], seed=0).parameters
        }
        if not compress_where_faster(model, masks):
            print(f"{sparsity:.0%} sparse: dense products were faster")
        pack_linear_layers(model)
        models[f"{sparsity:.0%} sparse"] = model
    prompt = torch.randint(arguments.vocab_size, (CACHED,)).tolist()
    prefixes = {name: read_prefix(model, [prompt]) for name, model in models.items()}

    @torch.no_grad()
    def decode(model: GPT3, prefix: Prefix) -> None:
        for _ in range(DECODED):
            prefix = prefix.extended(model, prefix.logits.argmax(-1))

    contenders = {n: lambda n=n: decode(models[n], prefixes[n]) for n in models}
    seconds = take_turns(contenders, 3 * arguments.turns, processor_time=arguments.processor_time)
    print(
        f"\nDecoding at batch 1: {arguments.layers} layers, d = {arguments.hidden_size}, "
        f"vocabulary {arguments.vocab_size:,}"
    )
    dense = seconds["dense"].least
    for name, value in seconds.items():
        rate, ratio = DECODED / value.least, dense / value.least
        print(f"{name:<18} {rate:>7.1f} tokens/s {ratio:>6.2f} x dense")


PARTS = {
    "step": step_part,
    "kernels": kernels_part,
    "memory": memory_part,
    "decode": decode_part,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=PARTS, action="append", help="default: all")
    parser.add_argument("--sparsity", type=share_of_zeros, nargs="+", default=[0.75, 0.5, 0.9])
    parser.add_argument("--hidden_size", type=int, default=1024)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--vocab_size", type=int, default=2048)
    parser.add_argument("--batch_size", type=int, default=2)
    parser.add_argument("--sequence_length", type=int, default=1024)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--processor_time", action="store_true")
    arguments = parser.parse_args()
    if not is_available():
        print("not measured: the sparse kernels are not compiled here")
        return
    torch.manual_seed(0)
    keep_freed_memory()  # as every run does
    print(f"{machine()}; kernels: {load_library().description}")
    for part in arguments.part or PARTS:
        PARTS[part](arguments)


if __name__ == "__main__":
    main()
