"""What a training step on a CPU takes of memory, beside what `mediswift plan` predicts.

    python benchmarks/step_memory.py [--hidden_size 128 --layers 4 --batch_sizes 64 512 ...]

Every measurement is a process of its own: its largest resident size after two steps, less the one
after the imports. Freed memory is kept, as in a run.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import torch
from machine import machine
from steps import make_engine, make_model, number_of_heads, random_batch

from modelzoo_mediswift.config.model import ModelConfig
from modelzoo_mediswift.engine.freed_memory import keep_freed_memory
from modelzoo_mediswift.plan.memory import training_memory
from modelzoo_mediswift.plan.parameters import count_parameters


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hidden_size", type=int, default=128)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--vocab_size", type=int, default=8192)
    parser.add_argument("--sequence_length", type=int, default=512)
    parser.add_argument("--batch_sizes", type=int, nargs="+", default=[64, 256])
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        precision, batch = arguments.one
        print(json.dumps(measure(arguments, precision == "bf16", int(batch))))
        return
    print(machine())
    print("      batch   predicted    measured  measured / predicted")
    for precision in ("fp32", "bf16"):
        for batch in arguments.batch_sizes:
            command = [sys.executable, *sys.argv, "--one", precision, str(batch)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            predicted, measured = json.loads(done.stdout)
            sizes = f"{predicted / 2**30:8.3f} GiB {measured / 2**30:7.3f} GiB"
            print(f"{precision} {batch:6} {sizes} {measured / predicted:21.2f}", flush=True)


def measure(arguments: argparse.Namespace, mixed: bool, batch_size: int) -> tuple[int, int]:
    """Bytes predicted and measured."""
    keep_freed_memory()
    before = resident("VmRSS")
    length, vocab = arguments.sequence_length, arguments.vocab_size
    model = make_model(vocab, arguments.hidden_size, arguments.layers, length)
    engine = make_engine(model, autocast=torch.bfloat16 if mixed else None)
    batch = random_batch(vocab, batch_size, length)
    engine.train([batch] * 2, 0, 2, 1, lambda result: True)
    measured = resident("VmHWM") - before
    shape = ModelConfig(
        name="gpt3",
        vocab_size=vocab,
        max_position_embeddings=length,
        hidden_size=arguments.hidden_size,
        num_hidden_layers=arguments.layers,
        num_heads=number_of_heads(arguments.hidden_size),
        filter_size=4 * arguments.hidden_size,
    )
    memory = training_memory(
        shape,
        count_parameters(shape, []),
        sequences=batch_size,
        sequence_length=length,
        mixed=mixed,
    )
    return memory.of(batch_size, accumulates=False).total, measured


def resident(field: str) -> int:
    """A line of this process's status, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise OSError(f"no {field} in /proc/self/status")


if __name__ == "__main__":
    main()
