"""Where the time of a training step goes, by kind of operation, from PyTorch's profiler.

    python benchmarks/profile_step.py [--kernels] [--fp32] [--sparsity 0.75 --layers 8 ...]
    python benchmarks/profile_step.py --device cuda --hidden_size 1024 --layers 24 --batch_size 16

Time is that of the device itself (self time of operators on a CPU, of kernels on a GPU), after
steps to warm up; `--trace FILE` keeps what chrome://tracing and Perfetto show.
"""

import argparse
import time
from collections import Counter
from fnmatch import fnmatch
from pathlib import Path

import torch
from machine import machine
from steps import make_engine, make_model, random_batch, share_of_zeros
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from modelzoo_mediswift.engine.freed_memory import keep_freed_memory
from modelzoo_mediswift.engine.parallel import distribute
from modelzoo_mediswift.engine.torch_engine import TorchEngine
from modelzoo_mediswift.sparsity.filters import SparsityRule
from modelzoo_mediswift.sparsity.masking import Masking

# An operator's or kernel's time goes to the first kind that matches its name in lower case.
KINDS = {
    # Fused kernels alone (cuDNN's is named sdpa): separate products count as matrix products.
    "attention": ("*attention*", "*flash*", "*fmha*", "*sdpa*"),
    "optimizer": ("*adam*",),
    "communication": ("*nccl*",),
    "sparse products": ("*sparselinear*",),
    "matrix products": ("*::mm", "*addmm*", "*linear*", "*gemm*", "*cutlass*", "nvjet*", "*::bmm"),
    "GELU and LayerNorm": ("*gelu*", "*layer_norm*"),
    "softmax": (
        "*softmax*",
        "*crossentropy*",
        "*_exp*",
        "*::exp*",
        "*argmax*",
        "*gather*",
        "*scatter*",
        "*amax*",
    ),
    "masking and clipping": ("*_foreach*", "*norm*", "*multi_tensor*", "*mulfunctor*"),
    "copies and casts": ("*copy*", "*cat", "*memcpy*", "*clone*"),
    "compiled, pointwise": ("triton*",),
}


WARM_UP = 3  # steps until memory is found again where a step freed it
EVENTS = 1 << 30  # bytes, freed at once: more than the events of some dozen steps take


def kind_of(name: str) -> str:
    name = name.lower()
    fits = (kind for kind, globs in KINDS.items() if any(fnmatch(name, glob) for glob in globs))
    return next(fits, "other")


def prepare(arguments: argparse.Namespace) -> TorchEngine:
    device = torch.device(arguments.device)
    model = make_model(
        arguments.vocab_size, arguments.hidden_size, arguments.layers, arguments.sequence_length
    )
    masking = Masking(model, [SparsityRule(arguments.sparsity)], 0) if arguments.sparsity else None
    module = distribute(model, device, sparsity=masking, compiled=device.type == "cuda")
    return make_engine(
        model,
        masking,
        device=device,
        autocast=None if arguments.fp32 else torch.bfloat16,
        kernels=arguments.kernels,
        module=module,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--fp32", action="store_true", help="no mixed precision")
    parser.add_argument("--kernels", action="store_true", help="sparse kernels (CPU)")
    parser.add_argument("--sparsity", type=share_of_zeros, default=0.75)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--hidden_size", type=int, default=512)
    parser.add_argument("--vocab_size", type=int, default=42384)
    parser.add_argument("--batch_size", type=int, default=4)
    parser.add_argument("--sequence_length", type=int, default=512)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--trace", type=Path, help="write the profile there")
    arguments = parser.parse_args()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("--device cuda: PyTorch finds no CUDA device here")
    keep_freed_memory()  # as every run does
    print(machine(arguments.device))
    engine = prepare(arguments)
    batch = random_batch(arguments.vocab_size, arguments.batch_size, arguments.sequence_length)

    def run(start: int, stop: int) -> None:
        for step in range(start, stop):
            engine.train([batch], step, step + 1, 1, lambda result: True)

    run(0, WARM_UP)
    on_gpu = arguments.device == "cuda"
    # The profiler's events would take what a step freed, and steps clear new pages instead.
    torch.zeros(EVENTS, dtype=torch.uint8)
    with profile(activities=[ProfilerActivity.CUDA if on_gpu else ProfilerActivity.CPU]) as found:
        start = time.perf_counter()  # starting and stopping the profiler takes a second
        run(WARM_UP, WARM_UP + arguments.steps)
        seconds = (time.perf_counter() - start) / arguments.steps
    if arguments.trace:
        found.export_chrome_trace(str(arguments.trace))
    times: Counter[str] = Counter()
    for event in found.key_averages():
        if on_gpu and event.device_type != DeviceType.CUDA:  # an operator repeats its kernels' time
            continue
        own = event.self_device_time_total if on_gpu else event.self_cpu_time_total
        times[kind_of(event.key)] += own / 1e6 / arguments.steps
    print(f"{seconds:.3f} s a step, with the profiler")
    for kind, value in times.most_common():
        print(f"{kind:<22}{value:>8.3f} s {value / sum(times.values()):>7.1%}")


if __name__ == "__main__":
    main()
