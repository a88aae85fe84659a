"""A GPT-3 of some shape, its engine, and batches of random tokens: what training steps need."""

import argparse
import gc
from collections.abc import Callable
from typing import TypeVar

import torch

from modelzoo_mediswift.data.batch import Batch
from modelzoo_mediswift.engine.out_of_memory import OutOfMemory
from modelzoo_mediswift.engine.processes import ALONE, Processes
from modelzoo_mediswift.engine.sparse_layers import SparseLayers, always
from modelzoo_mediswift.engine.torch_engine import TorchEngine, Update
from modelzoo_mediswift.model.gpt3 import GPT3
from modelzoo_mediswift.optim.adamw import AdamW
from modelzoo_mediswift.optim.schedules import ConstantLR
from modelzoo_mediswift.sparsity.masking import Masking

HEAD_WIDTH = 64
Result = TypeVar("Result")


def number_of_heads(hidden_size: int) -> int:
    """So many that each has a width of 64 or, where that divides no such model, somewhat more."""
    most = max(1, hidden_size // HEAD_WIDTH)
    return next(n for n in range(most, 0, -1) if hidden_size % n == 0)


def share_of_zeros(text: str) -> float:
    """A sparsity on the command line."""
    value = float(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"expected a number in [0, 1), got {text}")
    return value


def fresh_start() -> None:
    """Leave nothing of an earlier measurement: neither memory nor its peak, nor programs, whose
    sizes PyTorch makes variable, and so slower, once it has seen two."""
    gc.collect()
    torch.compiler.reset()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def with_the_most_that_fits(micro: int, work: Callable[[int], Result]) -> tuple[Result, int]:
    """What `work` gives for a micro-batch that fits, found by halving, and that micro-batch."""
    while True:
        fresh_start()
        try:
            return work(micro), micro
        except (torch.cuda.OutOfMemoryError, OutOfMemory):
            if micro == 1:
                raise
        micro //= 2  # only here the memory that the traceback held is free


def make_model(vocab_size: int, hidden_size: int, layers: int, length: int) -> GPT3:
    """Without dropout; feed-forward blocks are four times as wide as the model."""
    model = GPT3(
        vocab_size=vocab_size,
        hidden_size=hidden_size,
        num_hidden_layers=layers,
        num_heads=number_of_heads(hidden_size),
        filter_size=4 * hidden_size,
        max_position_embeddings=length,
        seed=None,
    )
    return with_weights(model)


@torch.no_grad()
def with_weights(model: GPT3) -> GPT3:
    """Weights of the usual size, the same each time, cheaper than the initializers' own."""
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        if parameter.dim() >= 2:
            parameter.normal_(std=0.02, generator=generator)
    return model


def make_engine(
    model: GPT3,
    masking: Masking | None = None,
    *,
    device: torch.device | None = None,
    autocast: torch.dtype | None = None,
    kernels: bool = False,
    micro_batch_size: int | None = None,
    module: torch.nn.Module | None = None,
    processes: Processes = ALONE,
) -> TorchEngine:
    """Steps with clipping and AdamW; with `kernels` every masked layer is computed sparse."""
    optimizer = AdamW(model, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1)
    layers = None
    if kernels and masking is not None:
        layers = SparseLayers(model, masking.parameters, always, optimizer)
    return TorchEngine(
        model,
        device or torch.device("cpu"),
        Update(optimizer, ConstantLR(1e-4), masking, max_gradient_norm=1.0),
        autocast=autocast,
        micro_batch_size=micro_batch_size,
        module=module,
        processes=processes,
        sparse_layers=layers,
    )


def random_batch(vocab_size: int, rows: int, length: int, num_samples: int | None = None) -> Batch:
    """Every token counts. `num_samples` are those of all processes; by default `rows`."""
    ids = torch.randint(vocab_size, (rows, length + 1), dtype=torch.int32)
    return Batch(ids[:, :-1], torch.ones_like(ids[:, 1:]), ids[:, 1:], 0, num_samples or rows)
