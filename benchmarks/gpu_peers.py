"""One training step of the same GPT-2 shape: ours, a plain compiled loop, Hugging Face's Trainer.

    python benchmarks/gpu_peers.py med_dense                    # needs a CUDA GPU
    python benchmarks/gpu_peers.py --device cpu --tiny          # the same code on a small shape

The plain loop is nanoGPT's way: GPT-2 in one module with a fused q/k/v projection and a vocabulary
padded to a multiple of 64, torch.compile, scaled_dot_product_attention, fused AdamW, bfloat16
autocast, loss from the logits of a whole micro-batch. The Trainer runs transformers' GPT-2 with
SDPA, bf16, torch.compile and fused AdamW. All have the model's shape and exact GELU, no dropout,
the same tokens per step, clipping and gradient accumulation; each gets the largest micro-batch that
it can hold, found by halving, in a process of its own. Ours is the engine of `run.py GPU`; with a
sparse NAME it masks gradients too. Needs transformers and accelerate (pip install -e ".[bench]").
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from gpu_step import NINE, configuration, prepare
from machine import machine
from steps import with_the_most_that_fits
from torch import Tensor, nn

WARM_UP = 2  # steps that compile and warm up


class PlainBlock(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before_attention, self.before_mlp = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        parts = self.qkv(self.before_attention(x)).split(width, dim=2)
        q, k, v = (p.view(batch, length, self.heads, -1).transpose(1, 2) for p in parts)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(x.shape))
        return x + self.down(F.gelu(self.up(self.before_mlp(x))))


class PlainGPT(nn.Module):
    """GPT-2 with tied embeddings; returns the mean loss."""

    def __init__(self, words: int, positions: int, width: int, layers: int, heads: int) -> None:
        super().__init__()
        self.words = nn.Embedding(words + -words % 64, width)
        self.positions = nn.Embedding(positions, width)
        self.blocks = nn.ModuleList(PlainBlock(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        for parameter in self.parameters():
            if parameter.dim() == 2:
                nn.init.normal_(parameter, std=0.02)

    def forward(self, ids: Tensor, labels: Tensor) -> Tensor:
        places = torch.arange(ids.shape[1], device=ids.device)
        x = self.words(ids) + self.positions(places)
        for block in self.blocks:
            x = block(x)
        logits = F.linear(self.norm(x), self.words.weight)
        return F.cross_entropy(logits.flatten(0, 1), labels.flatten())


def shape(arguments: argparse.Namespace) -> tuple[int, int]:
    """Sequences of a step, and their length."""
    length = configuration(arguments.name, arguments.tiny).init.model.max_position_embeddings
    return arguments.batch_size, length


def our_seconds(arguments: argparse.Namespace, micro: int) -> float:
    ready = prepare(
        arguments.name,
        torch.device(arguments.device),
        tiny=arguments.tiny,
        batch_size=shape(arguments)[0],
        compiled=arguments.device == "cuda",
        micro_batch_size=micro,
    )
    return ready.step_seconds(arguments.steps)


def plain_seconds(arguments: argparse.Namespace, micro: int) -> float:
    model = configuration(arguments.name, arguments.tiny).init.model
    batch_size, length = shape(arguments)
    device, on_gpu = torch.device(arguments.device), arguments.device == "cuda"
    module: Any = PlainGPT(
        model.vocab_size, length, model.hidden_size, model.num_hidden_layers, model.num_heads
    ).to(device)
    parameters = list(module.parameters())
    groups = [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": 0.1},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=1e-4, betas=(0.9, 0.95), fused=True)
    if on_gpu:
        torch.set_float32_matmul_precision("high")
        module = torch.compile(module)
    tokens = torch.randint(model.vocab_size, (batch_size, length + 1))

    def copied(part: Tensor) -> Tensor:
        return part.contiguous().pin_memory().to(device, non_blocking=True) if on_gpu else part

    times = []
    for _ in range(arguments.steps + WARM_UP):
        start = time.perf_counter()
        for part in tokens.split(micro):
            with torch.autocast(device.type, dtype=torch.bfloat16):
                loss = module(copied(part[:, :-1]), copied(part[:, 1:]))
            (loss * (len(part) / batch_size)).backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if on_gpu:
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return statistics.median(times[WARM_UP:])


def trainer_seconds(arguments: argparse.Namespace, micro: int) -> float:
    from transformers import (
        GPT2Config,
        GPT2LMHeadModel,
        Trainer,
        TrainerCallback,
        TrainingArguments,
    )

    model = configuration(arguments.name, arguments.tiny).init.model
    batch_size, length = shape(arguments)
    on_gpu = arguments.device == "cuda"
    config = GPT2Config(
        vocab_size=model.vocab_size,
        n_positions=length,
        n_embd=model.hidden_size,
        n_layer=model.num_hidden_layers,
        n_head=model.num_heads,
        activation_function="gelu",
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        use_cache=False,
        bos_token_id=0,
        eos_token_id=0,
        attn_implementation="sdpa",
    )
    steps = arguments.steps + WARM_UP
    marks = []

    class Clock(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            if on_gpu:
                torch.cuda.synchronize()
            marks.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as folder:
        options = TrainingArguments(
            folder,
            per_device_train_batch_size=micro,
            gradient_accumulation_steps=batch_size // micro,
            max_steps=steps,
            bf16=True,
            use_cpu=not on_gpu,
            torch_compile=on_gpu,
            optim="adamw_torch_fused",
            adam_beta2=0.95,
            weight_decay=0.1,
            max_grad_norm=1.0,
            logging_strategy="no",
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            dataloader_pin_memory=on_gpu,
        )
        tokens = torch.randint(model.vocab_size, (batch_size * steps, length))
        data: Any = [{"input_ids": row, "labels": row} for row in tokens]
        trainer = Trainer(GPT2LMHeadModel(config), options, train_dataset=data, callbacks=[Clock()])
        trainer.train()
    times = [after - before for before, after in pairwise(marks)]
    return statistics.median(times[WARM_UP - 1 :])


CONTENDERS: dict[str, Callable[[argparse.Namespace, int], float]] = {
    "ours": our_seconds,
    "plain": plain_seconds,
    "trainer": trainer_seconds,
}


def measure_here(arguments: argparse.Namespace) -> dict[str, float]:
    """One contender in this process, with the largest micro-batch that fits, found by halving."""
    batch_size = shape(arguments)[0]
    micro = min(arguments.micro_batch_size or batch_size, batch_size)
    on_gpu = arguments.device == "cuda"
    contender = CONTENDERS[arguments.only]
    seconds, micro = with_the_most_that_fits(micro, lambda most: contender(arguments, most))
    peak = torch.cuda.max_memory_allocated() if on_gpu else 0
    return {"seconds": seconds, "bytes": peak, "micro": micro}


def measure_apart(name: str) -> dict[str, float] | None:
    """One contender in a process of its own; None if it failed, after saying why."""
    command = [sys.executable, __file__, *sys.argv[1:], "--only", name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        print(f"{name} failed:\n{done.stderr[-2000:]}", file=sys.stderr)
        return None
    return json.loads(done.stdout.splitlines()[-1])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", nargs="?", default="med_dense", choices=NINE, help="of params/")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--tiny", action="store_true", help="a small shape and batch")
    parser.add_argument("--batch_size", type=int, help="sequences per step, 2 ** n (64; tiny: 8)")
    parser.add_argument(
        "--micro_batch_size", type=int, help="the largest to try, 2 ** n (default: all)"
    )
    parser.add_argument("--steps", type=int, default=5, help="the median of so many")
    parser.add_argument("--only", choices=CONTENDERS, help="in this process; prints JSON")
    arguments = parser.parse_args()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("this measures a GPU, and PyTorch finds none; --device cpu --tiny runs")
    arguments.batch_size = arguments.batch_size or (8 if arguments.tiny else 64)
    for size in (arguments.batch_size, arguments.micro_batch_size or 1):
        if size < 1 or size & (size - 1):  # halved, it would not divide a step's sequences
            parser.error(f"expected a power of two, got {size}")
    if arguments.only:
        print(json.dumps(measure_here(arguments)))
        return 0
    batch_size, length = shape(arguments)
    print(machine(arguments.device))
    print(f"{arguments.name}, {batch_size} x {length} tokens a step")
    found = {name: measure_apart(name) for name in CONTENDERS}
    ours = found["ours"]
    print(f"{'':<10}{'s/step':>9}{'tokens/s':>12}{'at a time':>11}{'GiB':>7}{'ours is':>10}")
    for name, result in found.items():
        if result is None:
            continue
        seconds, memory = result["seconds"], result["bytes"]
        gigabytes = f"{memory / 2**30:.1f}" if memory else "-"
        ratio = f"{seconds / ours['seconds']:.2f} x" if ours else "-"
        print(
            f"{name:<10}{seconds:>9.3f}{batch_size * length / seconds:>12,.0f}"
            f"{result['micro']:>11}{gigabytes:>7}{ratio:>10}"
        )
    return int(None in found.values())


if __name__ == "__main__":
    sys.exit(main())
