"""Scoring PubMedQA against a plain generate loop of Hugging Face transformers, same weights.

    python benchmarks/scoring.py --questions 64

The model has random weights of the given shape and is trained for a few steps to say the answer
sentence, as any fine-tuned model does. Ours scores by likelihood *and* by generation, in batches;
the loop generates greedily, question by question, with its cache, until end-of-text. Sources are
random tokens of PubMedQA's lengths. Without --trained_steps the model never says an answer, and
every answer is generated to its full length on both sides. Times are processor time, the least of
some rounds; on one thread (OMP_NUM_THREADS=1) that is what an idle machine would take.
"""

import argparse
import tempfile
import time
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
    """Teach the answer sentence, with random sources."""
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    generator = torch.Generator().manual_seed(1)
    virtual = torch.arange(vocab_size, vocab_size + N_VIRTUAL).expand(12, -1)
    for step in range(steps):
        length = 20 if step % 4 else 330  # long ones now and then, for the late positions
        source = torch.randint(30, vocab_size, (12, length), generator=generator)
        ends = torch.tensor([[*target(label), EOS] for label in LABELS] * 4)
        eos = torch.full((12, 1), EOS)
        ids = torch.cat((eos, source, virtual, ends), 1)
        logits = model(ids[:, :-1])[:, -ends.shape[1] :]
        loss = F.cross_entropy(logits.flatten(0, 1), ends.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 10 == 9:
            print(f"  training step {step + 1}: loss {loss.item():.3f}", flush=True)
    model.eval()


def plain_loop(model: GPT2LMHeadModel, questions: list[Example], vocab_size: int) -> list[str]:
    said = []
    longest = len(target("maybe"))
    for one in questions:
        prompt = [EOS, *encode(one.source), *range(vocab_size, vocab_size + N_VIRTUAL)]
        ids = torch.tensor([prompt])
        out = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=longest + 1,
            do_sample=False,
        )[0, len(prompt) :].tolist()
        said.append(decode(out[: out.index(EOS)] if EOS in out else out))
    return said


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--questions", type=int, default=64)
    parser.add_argument("--batch_size", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--hidden_size", type=int, default=384)
    parser.add_argument("--vocab_size", type=int, default=8192)
    parser.add_argument("--trained_steps", type=int, default=40)
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
    warm_up = examples(2, flags.vocab_size, seed=3)
    text = Text(encode, decode, EOS)
    list(answer(model, PubMedQA(), warm_up, text, flags.batch_size))
    plain_loop(theirs, warm_up, flags.vocab_size)

    ours, plain = [], []
    for _ in range(flags.rounds):  # in turn, since other work may slow the machine for a while
        start = time.process_time()
        answers = answer(model, PubMedQA(), questions, text, flags.batch_size)
        found = {a.id: a.generated for a in answers}
        ours.append(time.process_time() - start)
        start = time.process_time()
        said = plain_loop(theirs, questions, flags.vocab_size)
        plain.append(time.process_time() - start)
    same = sum(found[one.id] == text for one, text in zip(questions, said, strict=True))
    each = flags.questions
    for name, seconds in (("ours, likelihood and generation", ours), ("plain loop", plain)):
        print(f"{name:<32} {min(seconds):7.2f} s, {each / min(seconds):6.1f} questions/s")
    print(f"{min(plain) / min(ours):.1f} times as fast; {same} of {each} answers are the same")


if __name__ == "__main__":
    main()
