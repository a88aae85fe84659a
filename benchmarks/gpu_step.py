"""Whole training steps of the paper's nine shapes on a GPU: tokens/s, utilisation, memory.

    python benchmarks/gpu_step.py                        # needs a CUDA GPU
    python benchmarks/gpu_step.py --device cpu --tiny    # the same code on a small shape

The claims: utilisation, masked-sparse within 1 % of dense, memory within 10 % of the plan. A step
is masks, clipping, optimizer and all micro-batches; data are random and already in memory. FLOPs
are those that a dense device executes, by the paper's formula and by PaLM's.
"""

import argparse
import statistics
import time
from dataclasses import replace
from pathlib import Path

import torch
from machine import machine

from modelzoo_mediswift.build_model import build_model, build_sparsity_rule
from modelzoo_mediswift.config.load import load_config
from modelzoo_mediswift.config.trainer import TrainerConfig
from modelzoo_mediswift.data.batch import Batch
from modelzoo_mediswift.engine.parallel import distribute
from modelzoo_mediswift.engine.peaks import peak_flops
from modelzoo_mediswift.engine.torch_engine import TorchEngine, Update
from modelzoo_mediswift.optim.adamw import AdamW
from modelzoo_mediswift.optim.schedules import ConstantLR
from modelzoo_mediswift.plan.memory import fitting_micro_batch
from modelzoo_mediswift.plan.plan import make_plan
from modelzoo_mediswift.sparsity.masking import Masking

PARAMS = Path(__file__).parents[1] / "params"
NINE = [f"{size}_{kind}" for size in ("med", "large", "xl") for kind in ("dense", "s50", "s75")]
TINY = {"hidden_size": 128, "num_hidden_layers": 2, "num_heads": 4, "filter_size": 512}
TINY |= {"vocab_size": 2048, "max_position_embeddings": 128}


def configuration(name: str, tiny: bool) -> TrainerConfig:
    overrides = {f"trainer.init.model.{key}": value for key, value in TINY.items()} if tiny else {}
    return load_config(PARAMS / f"{name}.yaml", overrides)


def measure(name: str, arguments: argparse.Namespace) -> float:
    """Seconds of a step, printed with what they mean."""
    config = configuration(name, arguments.tiny)
    init, device = config.init, torch.device(arguments.device)
    plan = make_plan(config, init.model.max_position_embeddings)
    length, batch_size = plan.sequence_length, 8 if arguments.tiny else arguments.batch_size
    assert plan.memory is not None
    micro = batch_size
    if device.type == "cuda":
        total = torch.cuda.get_device_properties(device).total_memory
        micro = fitting_micro_batch(plan.memory, batch_size, int(0.85 * total))
        torch.cuda.reset_peak_memory_stats()
    model = build_model(init.model, 0)
    rules = [build_sparsity_rule(block) for block in init.sparsity]
    masking = Masking(model, rules, 0) if rules else None
    module = distribute(model, device, sparsity=masking, compiled=arguments.compile)
    optimizer = AdamW(model, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1)
    engine = TorchEngine(
        model,
        device,
        Update(optimizer, ConstantLR(1e-4), masking, max_gradient_norm=1.0),
        autocast=torch.bfloat16,
        micro_batch_size=micro,
        module=module,
    )
    ids = torch.randint(init.model.vocab_size, (batch_size, length + 1), dtype=torch.int32)
    batch = Batch(ids[:, :-1], torch.ones_like(ids[:, 1:]), ids[:, 1:], 0, batch_size)
    times = []
    for step in range(arguments.steps + 2):  # the first two compile and warm up
        start = time.perf_counter()
        engine.train([batch], step, step + 1, 1, lambda result: True)
        times.append(time.perf_counter() - start)
    seconds = statistics.median(times[2:])
    rate = batch_size * length / seconds
    text = f"{name}: {seconds:.3f} s a step of {batch_size} x {length}, {rate:,.0f} tokens/s"
    peak = peak_flops(engine.description)
    if peak:
        paper = rate * plan.dense_flops_per_token.total / peak
        palm = rate * plan.palm_flops_per_token / peak
        text += f", MFU {paper:.1%} (paper's FLOPs), {palm:.1%} (PaLM's)"
    if device.type == "cuda":
        used = torch.cuda.max_memory_allocated()
        extra = replace(plan.memory, activations=micro * plan.memory.activations_per_sequence).total
        text += f", {used / 2**30:.1f} GiB (plan: {extra / 2**30:.1f}), {micro} at a time"
    print(text, flush=True)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=NINE, metavar="NAME", help="of params/")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--tiny", action="store_true", help="a small shape and batch")
    parser.add_argument("--batch_size", type=int, default=64, help="sequences per step")
    parser.add_argument("--steps", type=int, default=5, help="the median of so many")
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=None)
    arguments = parser.parse_args()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("this measures a GPU, and PyTorch finds none; --device cpu --tiny runs")
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
