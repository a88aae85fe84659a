"""Scoring PubMedQA against a plain generate loop of Hugging Face transformers, same weights.

    OMP_NUM_THREADS=1 python benchmarks/scoring.py --bf16 --layers 6

The peers are what a user writes: `generate` question by question, and in batches padded on the
left, in fp32 and with --bf16, for honesty, in bfloat16 too. The model has random weights of the
given shape; its last layer and norm are trained for a few steps to say the answer sentence, as any
fine-tuned model does. Ours scores by likelihood *and* by generation; the peers generate alone,
greedily with the cache, until end-of-text. Sources are random tokens of PubMedQA's lengths. Without
--trained_steps the model never says an answer, and every answer is generated to its full length on
both sides. Every way has a process of its own, which loads the model from a folder as its user
does: ours as `mediswift evaluate`, the peer by `from_pretrained`. Times are processor time.
"""

import argparse
import logging
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from machine import machine
from steps import number_of_heads

from modelzoo_mediswift.checkpoint.directory import Checkpoint, save_checkpoint
from modelzoo_mediswift.checkpoint.huggingface import write_weights
from modelzoo_mediswift.cli.loading import load_model
from modelzoo_mediswift.config.load import parse_config
from modelzoo_mediswift.evaluation.predict import Text, answer
from modelzoo_mediswift.model.gpt3 import GPT3
from modelzoo_mediswift.model.tensors import unique_tensors
from modelzoo_mediswift.tasks.base import Example
from modelzoo_mediswift.tasks.pubmedqa import PubMedQA

EOS, N_VIRTUAL = 0, 9
STEM = list(range(10, 19))  # "the answer to the question given the context is"
WAYS = (
    "peer: generate, one by one, fp32",  # the plain loop that all are compared with
    "peer: generate, batches, fp32",
    "peer: generate, one by one, bf16",
    "peer: generate, batches, bf16",
    "ours, fp32",
    "ours, bf16",
)
LABELS = {"yes": 20, "no": 21, "maybe": 22}
FULL_STOP = 23
CONFIG = """\
trainer:
  init:
    model:
      name: mediswift
      num_virtual_tokens: {n_virtual}
      vocab_size: {vocab_size}
      max_position_embeddings: 1024
      hidden_size: {hidden_size}
      num_hidden_layers: {layers}
      num_heads: {heads}
      filter_size: {filter_size}
      dropout_rate: 0.0
      attention_dropout_rate: 0.0
"""


def target(label: str) -> list[int]:
    return [*STEM, LABELS[label], FULL_STOP]


def encode(text: str) -> list[int]:
    """Sources are written as numbers; a target is known by its label."""
    if text[:1].isdigit():
        return [int(number) for number in text.split()]
    return target(text.rstrip(".").split()[-1])


def decode(ids: list[int]) -> str:
    words = {token: label for label, token in LABELS.items()}
    said = next((words[i] for i in ids if i in words), None)
    return f"the answer to the question given the context is {said}." if said else ""


def examples(count: int, vocab_size: int, seed: int) -> list[Example]:
    """PubMedQA's lengths: question and contexts have about 330 tokens, from 150 to 650."""
    generator = torch.Generator().manual_seed(seed)
    lengths = (330 + 90 * torch.randn(count, generator=generator)).clamp(150, 650).int().tolist()
    return [
        Example(
            str(i),
            " ".join(map(str, torch.randint(30, vocab_size, (n,), generator=generator).tolist())),
            "",
            list(LABELS)[i % 3],
        )
        for i, n in enumerate(lengths)
    ]


def train(model: GPT3, steps: int, vocab_size: int) -> None:
    """Teach the answer sentence to the last layer, with random sources."""
    model.requires_grad_(False)
    taught = [model.model.transformer_decoder.layers[-1], model.model.ln_f]
    parameters = [p.requires_grad_(True) for module in taught for p in module.parameters()]
    optimizer = torch.optim.Adam(parameters, 3e-4)
    generator = torch.Generator().manual_seed(1)
    virtual = torch.arange(vocab_size, vocab_size + N_VIRTUAL).expand(len(LABELS), -1)
    ends = torch.tensor([[*target(label), EOS] for label in LABELS])
    eos = torch.full((len(LABELS), 1), EOS)
    for step in range(steps):
        length = 20 if step % 8 else 330  # long ones now and then, for the late positions
        source = torch.randint(30, vocab_size, (len(LABELS), length), generator=generator)
        ids = torch.cat((eos, source, virtual, ends), 1)
        with torch.autocast("cpu", torch.bfloat16):
            hidden = model.hidden_states(ids[:, :-1])[0][:, -ends.shape[1] :]
            logits = model.logits(hidden)
        loss = F.cross_entropy(logits.flatten(0, 1).float(), ends.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 10 == 9:
            print(f"  training step {step + 1}: loss {loss.item():.3f}", flush=True)
    model.eval()


def prompt_ids(one: Example, vocab_size: int) -> list[int]:
    return [EOS, *encode(one.source), *range(vocab_size, vocab_size + N_VIRTUAL)]


def said_after(row: list[int]) -> str:
    return decode(row[: row.index(EOS)] if EOS in row else row)


def generate_batches(
    model: Any, questions: list[Example], vocab_size: int, batch_size: int
) -> list[str]:
    """`generate` on batches of the questions in their order, padded on the left; 1 is the loop."""
    said = []
    longest = len(target("maybe"))
    for start in range(0, len(questions), batch_size):
        prompts = [prompt_ids(one, vocab_size) for one in questions[start : start + batch_size]]
        width = max(map(len, prompts))
        ids = torch.tensor([[EOS] * (width - len(p)) + p for p in prompts])
        real = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts])
        out = model.generate(ids, attention_mask=real, max_new_tokens=longest + 1, do_sample=False)
        said += [said_after(row[width:].tolist()) for row in out]
    return said


Way = Callable[[list[Example]], list[str]]


def peer(folder: Path, precision: str, vocab_size: int, batch_size: int) -> Way:
    # It imports torchao where that is installed, which names its libraries that need a GPU.
    for name in ("torchao", "torch.utils._pytree"):
        logging.getLogger(name).setLevel(logging.ERROR)
    from transformers import GPT2LMHeadModel
    from transformers.utils import logging as peer_logging

    peer_logging.disable_progress_bar()
    peer_logging.set_verbosity_error()  # it asks for a mask of what is not padded
    model = GPT2LMHeadModel.from_pretrained(folder, dtype=getattr(torch, precision)).eval()
    return lambda some: generate_batches(model, some, vocab_size, batch_size)


def ours(checkpoint: Path, precision: str, batch_size: int) -> Way:
    model, _ = load_model(checkpoint, "CPU", precision)
    text = Text(encode, decode, EOS)

    def way(some: list[Example]) -> list[str]:
        found = {a.id: a.generated for a in answer(model, PubMedQA(), some, text, batch_size)}
        return [found[one.id] for one in some]

    return way


def measure(
    result: Connection, name: str, folder: Path, checkpoint: Path, flags: argparse.Namespace
) -> None:
    """Run one way, in a process of its own; sends the seconds of each round, and the answers."""
    torch.set_num_threads(1)  # several would count the time in which they wait for each other
    precision = "bfloat16" if name.endswith("bf16") else "float32"
    if name.startswith("ours"):
        way = ours(checkpoint, precision, flags.batch_size)
    else:
        size = 1 if "one by one" in name else flags.batch_size
        way = peer(folder, precision, flags.vocab_size, size)
    questions = examples(flags.questions, flags.vocab_size, seed=2)
    way(examples(1, flags.vocab_size, seed=3))  # to warm up
    seconds, said = [], []
    for _ in range(flags.rounds):
        start = time.process_time()
        said = way(questions)
        seconds.append(time.process_time() - start)
    result.send((seconds, said))


def in_own_process(
    name: str, folder: Path, checkpoint: Path, flags: argparse.Namespace
) -> tuple[list[float], list[str]]:
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=measure, args=(sender, name, folder, checkpoint, flags))
    process.start()
    sender.close()
    found: tuple[list[float], list[str]] = receiver.recv()
    process.join()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--questions", type=int, default=8)
    parser.add_argument("--batch_size", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--layers", type=int, default=24)
    parser.add_argument("--hidden_size", type=int, default=1024)
    parser.add_argument("--vocab_size", type=int, default=42384)
    parser.add_argument("--trained_steps", type=int, default=20)
    parser.add_argument("--bf16", action="store_true", help="measure bfloat16 too, on all sides")
    flags = parser.parse_args()
    config = CONFIG.format(
        n_virtual=N_VIRTUAL,
        vocab_size=flags.vocab_size,
        hidden_size=flags.hidden_size,
        layers=flags.layers,
        heads=number_of_heads(flags.hidden_size),
        filter_size=4 * flags.hidden_size,
    )
    from modelzoo_mediswift.build_model import build_model

    model = build_model(parse_config(config, "benchmark").init.model, seed=0)
    print(
        f"{flags.layers} layers of {flags.hidden_size}, vocabulary {flags.vocab_size:,}, "
        f"{flags.questions} questions, {flags.rounds} rounds\n{machine()}"
    )
    train(model, flags.trained_steps, flags.vocab_size)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made) / "hf"
        folder.mkdir()
        tensors = {name: t.detach().clone() for name, t in unique_tensors(model).items()}
        trained = Checkpoint(0, tensors, config=config)
        write_weights(folder, trained, Path("benchmark"), EOS)
        checkpoint = save_checkpoint(trained, Path(made))
        del model, tensors, trained
        loop: tuple[list[float], list[str]] | None = None
        for name in WAYS:
            if name.endswith("bf16") and not flags.bf16:
                continue
            seconds, said = in_own_process(name, folder, checkpoint, flags)
            loop = loop or (seconds, said)
            print_result(name, seconds, said, loop)


def print_result(
    name: str, seconds: list[float], said: list[str], loop: tuple[list[float], list[str]]
) -> None:
    same = sum(a == b for a, b in zip(said, loop[1], strict=True))
    least, middle = (
        f"{form(seconds):6.2f} s ({form(loop[0]) / form(seconds):4.2f} x the loop)"
        for form in (min, statistics.median)
    )
    print(f"{name:<33} least {least}, median {middle}, {same} of {len(said)} answers", flush=True)


if __name__ == "__main__":
    main()
