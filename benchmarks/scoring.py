"""Scoring PubMedQA against a plain generate loop of Hugging Face transformers, same weights.

    python benchmarks/scoring.py --bf16      # of Med's shape

The peers are what a user writes: `generate` question by question, and in batches padded on the
left, in fp32 and with --bf16, for honesty, in bfloat16 too. The model has random weights of the
given shape; its last layer and norm are trained for a few steps to say the answer sentence, as any
fine-tuned model does. Ours scores by likelihood *and* by generation, on the model as `mediswift
evaluate` loads it; the peers generate alone, greedily with the cache, until end-of-text. Sources
are random tokens of PubMedQA's lengths. Without --trained_steps the model never says an answer, and
every answer is generated to its full length on both sides. Times are processor time, the least of
some rounds; on one thread (OMP_NUM_THREADS=1) that is what an idle machine would take.
"""

import argparse
import math
import tempfile
import time
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import torch
import torch.nn.functional as F
from transformers import GPT2LMHeadModel
from transformers.utils import logging

from modelzoo_mediswift.checkpoint.directory import Checkpoint
from modelzoo_mediswift.checkpoint.huggingface import write_weights
from modelzoo_mediswift.config.load import parse_config
from modelzoo_mediswift.evaluation.predict import Text, answer
from modelzoo_mediswift.model.gpt3 import GPT3
from modelzoo_mediswift.model.packed import pack_linear_layers
from modelzoo_mediswift.model.tensors import unique_tensors
from modelzoo_mediswift.tasks.base import Example
from modelzoo_mediswift.tasks.pubmedqa import PubMedQA

EOS, N_VIRTUAL = 0, 9
STEM = list(range(10, 19))  # "the answer to the question given the context is"
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
    optimizer = torch.optim.Adam(parameters, 3e-3)
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
    model: GPT2LMHeadModel, questions: list[Example], vocab_size: int, batch_size: int
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--questions", type=int, default=4)
    parser.add_argument("--batch_size", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--layers", type=int, default=24)
    parser.add_argument("--hidden_size", type=int, default=1024)
    parser.add_argument("--vocab_size", type=int, default=42384)
    parser.add_argument("--trained_steps", type=int, default=80)
    parser.add_argument("--bf16", action="store_true", help="measure bfloat16 too, on all sides")
    flags = parser.parse_args()
    logging.disable_progress_bar()
    config = CONFIG.format(
        n_virtual=N_VIRTUAL,
        vocab_size=flags.vocab_size,
        hidden_size=flags.hidden_size,
        layers=flags.layers,
        heads=flags.hidden_size // 64,
        filter_size=4 * flags.hidden_size,
    )
    from modelzoo_mediswift.build_model import build_model

    model = build_model(parse_config(config, "benchmark").init.model, seed=0)
    print(
        f"{flags.layers} layers of {flags.hidden_size}, vocabulary {flags.vocab_size:,}, "
        f"{torch.get_num_threads()} threads, PyTorch {torch.__version__}"
    )
    train(model, flags.trained_steps, flags.vocab_size)
    with tempfile.TemporaryDirectory() as folder:
        tensors = {name: t.detach().clone() for name, t in unique_tensors(model).items()}
        write_weights(Path(folder), Checkpoint(0, tensors, config=config), Path("benchmark"), EOS)
        theirs = GPT2LMHeadModel.from_pretrained(folder).eval()

    questions = examples(flags.questions, flags.vocab_size, seed=2)
    text = Text(encode, decode, EOS)
    half, half_theirs = deepcopy(model).bfloat16(), deepcopy(theirs).bfloat16()
    pack_linear_layers(model)
    pack_linear_layers(half)

    def ours(of: GPT3) -> Callable[[list[Example]], list[str]]:
        def run(some: list[Example]) -> list[str]:
            answers = answer(of, PubMedQA(), some, text, flags.batch_size)
            found = {a.id: a.generated for a in answers}
            return [found[one.id] for one in some]

        return run

    def peer(of: GPT2LMHeadModel, batch_size: int) -> Callable[[list[Example]], list[str]]:
        return lambda some: generate_batches(of, some, flags.vocab_size, batch_size)

    ways = {
        "peer: generate, one by one, fp32": peer(theirs, 1),
        "peer: generate, batches, fp32": peer(theirs, flags.batch_size),
        "peer: generate, one by one, bf16": peer(half_theirs, 1),
        "peer: generate, batches, bf16": peer(half_theirs, flags.batch_size),
        "ours, fp32": ours(model),
        "ours, bf16": ours(half),
    }
    ways = {name: way for name, way in ways.items() if flags.bf16 or "bf16" not in name}
    seconds: dict[str, float] = dict.fromkeys(ways, math.inf)
    said: dict[str, list[str]] = {}
    for way in ways.values():
        way(examples(1, flags.vocab_size, seed=3))  # to warm up
    for _ in range(flags.rounds):  # in turn, since other work may slow the machine for a while
        for name, way in ways.items():
            start = time.process_time()
            said[name] = way(questions)
            seconds[name] = min(seconds[name], time.process_time() - start)
    first = next(iter(ways))
    for name, spent in seconds.items():
        same = sum(a == b for a, b in zip(said[name], said[first], strict=True))
        print(
            f"{name:<34} {spent:7.2f} s, {len(questions) / spent:6.1f} questions/s, "
            f"{seconds[first] / spent:4.1f} x the loop, {same} of {len(questions)} answers as there"
        )


if __name__ == "__main__":
    main()
