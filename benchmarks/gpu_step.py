"""Whole training steps of the paper's nine shapes on a GPU: tokens/s, utilisation, memory.

    python benchmarks/gpu_step.py                        # needs a CUDA GPU
    python benchmarks/gpu_step.py med_dense --attention flash       # or cudnn, efficient
    python benchmarks/gpu_step.py xl_dense --fp8 tensorwise         # beside xl_dense in bf16
    python benchmarks/gpu_step.py --device cpu --tiny    # the same code on a small shape

The claims: utilisation, masked-sparse within 1 % of dense, memory within 10 % of the plan. A step
is masks, clipping, optimizer and all micro-batches; data are random and already in memory. FLOPs
are those that a dense device executes, by the paper's formula and by PaLM's.
"""

import argparse
import statistics
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from machine import machine
from steps import make_engine, random_batch, with_the_most_that_fits, with_weights
from torch.nn.attention import SDPBackend, sdpa_kernel

from modelzoo_mediswift.build_memory import USED_MEMORY
from modelzoo_mediswift.build_model import build_masking, build_model
from modelzoo_mediswift.config.load import load_config
from modelzoo_mediswift.config.trainer import TrainerConfig
from modelzoo_mediswift.data.batch import Batch
from modelzoo_mediswift.engine.fp8 import use_fp8
from modelzoo_mediswift.engine.parallel import distribute
from modelzoo_mediswift.engine.peaks import peak_flops
from modelzoo_mediswift.engine.torch_engine import TorchEngine
from modelzoo_mediswift.plan.memory import fitting_micro_batch
from modelzoo_mediswift.plan.plan import Plan, make_plan

PARAMS = Path(__file__).parents[1] / "params"
NINE = [f"{size}_{kind}" for size in ("med", "large", "xl") for kind in ("dense", "s50", "s75")]
TINY = {"hidden_size": 128, "num_hidden_layers": 2, "num_heads": 4, "filter_size": 512}
TINY |= {"vocab_size": 2048, "max_position_embeddings": 128}
ATTENTION = {
    "cudnn": SDPBackend.CUDNN_ATTENTION,
    "flash": SDPBackend.FLASH_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
}


def configuration(name: str, tiny: bool) -> TrainerConfig:
    overrides = {f"trainer.init.model.{key}": value for key, value in TINY.items()} if tiny else {}
    return load_config(PARAMS / f"{name}.yaml", overrides)


@dataclass(frozen=True)
class Prepared:
    """A configuration's engine and a batch of random tokens for it."""

    engine: TorchEngine
    batch: Batch
    plan: Plan
    micro_batch_size: int

    def step_seconds(self, steps: int) -> float:
        """The median of whole steps, after two that compile and warm up."""
        times = []
        for step in range(steps + 2):
            start = time.perf_counter()
            self.engine.train([self.batch], step, step + 1, 1, lambda result: True)
            times.append(time.perf_counter() - start)
        return statistics.median(times[2:])


def prepare(
    name: str,
    device: torch.device,
    *,
    tiny: bool,
    batch_size: int,
    compiled: bool,
    micro_batch_size: int,
    fp8: str | None = None,
) -> Prepared:
    """As run.py would train, `micro_batch_size` sequences at a time."""
    config = configuration(name, tiny)
    init = config.init
    plan = make_plan(config, init.model.max_position_embeddings, compiled)
    model = with_weights(build_model(init.model, None))
    if fp8:
        use_fp8(model, fp8, device)
    masking = build_masking(init, model, 0)
    module = distribute(model, device, sparsity=masking, compiled=compiled)
    engine = make_engine(
        model,
        masking,
        device=device,
        autocast=torch.bfloat16,
        micro_batch_size=micro_batch_size,
        module=module,
    )
    batch = random_batch(init.model.vocab_size, batch_size, plan.sequence_length)
    return Prepared(engine, batch, plan, micro_batch_size)


def planned_micro_batch(
    config: TrainerConfig, device: torch.device, batch_size: int, compiled: bool
) -> int:
    """As many sequences at a time as the plan says that fit a GPU."""
    memory = make_plan(config, config.init.model.max_position_embeddings, compiled).memory
    if device.type != "cuda" or memory is None:
        return batch_size
    total = torch.cuda.get_device_properties(device).total_memory
    return fitting_micro_batch(memory, batch_size, int(USED_MEMORY * total))


def measure(name: str, arguments: argparse.Namespace) -> float:
    """Seconds of a step, printed with what they mean."""
    device = torch.device(arguments.device)
    batch_size = arguments.batch_size

    def measured(micro: int) -> tuple[Prepared, float]:
        ready = prepare(
            name,
            device,
            tiny=arguments.tiny,
            batch_size=batch_size,
            compiled=arguments.compile,
            micro_batch_size=micro,
            fp8=arguments.fp8,
        )
        with attention_kernel(arguments.attention):
            return ready, ready.step_seconds(arguments.steps)

    config = configuration(name, arguments.tiny)
    planned = planned_micro_batch(config, device, batch_size, arguments.compile)
    (ready, seconds), _ = with_the_most_that_fits(planned, measured)
    plan, length = ready.plan, ready.plan.sequence_length
    rate = batch_size * length / seconds
    text = f"{name}: {seconds:.3f} s a step of {batch_size} x {length}, {rate:,.0f} tokens/s"
    peak = peak_flops(ready.engine.description)
    if peak:
        paper = rate * plan.dense_flops_per_token.total / peak
        palm = rate * plan.palm_flops_per_token / peak
        text += f", MFU {paper:.1%} (paper's FLOPs), {palm:.1%} (PaLM's)"
    if device.type == "cuda" and plan.memory is not None:
        used = torch.cuda.max_memory_allocated()
        accumulates = ready.micro_batch_size < batch_size
        planned = plan.memory.of(ready.micro_batch_size, accumulates=accumulates).total
        text += f", {used / 2**30:.1f} GiB (plan: {planned / 2**30:.1f})"
        text += f", {ready.micro_batch_size} at a time"
    print(text, flush=True)
    return seconds


def attention_kernel(name: str) -> AbstractContextManager:
    """Only the kernel of this name; "default" is PyTorch's own choice."""
    if name == "default":
        return nullcontext()
    return sdpa_kernel(ATTENTION[name])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=NINE, metavar="NAME", help="of params/")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--tiny", action="store_true", help="a small shape and batch")
    parser.add_argument("--batch_size", type=int, help="sequences per step (64; tiny: 8)")
    parser.add_argument("--steps", type=int, default=5, help="the median of so many")
    parser.add_argument(
        "--attention",
        choices=("default", *ATTENTION),
        default="default",
        help="the kernel of scaled_dot_product_attention, to compare PyTorch's choice with",
    )
    parser.add_argument(
        "--fp8",
        choices=("tensorwise", "rowwise", "rowwise_with_gw_hp"),
        help="the YAML's precision.fp8; MFU stays relative to bf16's peak",
    )
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=None)
    arguments = parser.parse_args()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("this measures a GPU, and PyTorch finds none; --device cpu --tiny runs")
    unknown = set(arguments.names) - set(NINE)
    if unknown:
        parser.error(f"unknown {', '.join(sorted(unknown))} (known: {', '.join(NINE)})")
    arguments.batch_size = arguments.batch_size or (8 if arguments.tiny else 64)
    if arguments.compile is None:
        arguments.compile = arguments.device == "cuda"
    print(machine(arguments.device))
    seconds = {name: measure(name, arguments) for name in arguments.names}
    for name, value in seconds.items():
        size, _, kind = name.rpartition("_")
        dense = seconds.get(f"{size}_dense")
        if kind != "dense" and dense:
            print(f"{name}: masked / dense {value / dense:.3f}")


if __name__ == "__main__":
    main()
