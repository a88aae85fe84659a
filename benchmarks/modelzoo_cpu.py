"""A training step on the CPU beside Model Zoo's: same YAML, same data, same machine, in turns.

    python benchmarks/modelzoo_cpu.py MODELZOO --peer_python MODELZOO_ENVIRONMENT/bin/python

MODELZOO is the `src` folder of Cerebras Model Zoo, Release_2.10.0, and --peer_python an interpreter
that can import it and cerebras-pytorch 2.10. Each contender is its own command line, as its users
start it: `cszoo fit` on the backend CPU (by `mediswift-cszoo`, which is cszoo where lm_eval is not
installed) and `run.py CPU`, the latter also with the callback SparseKernels. All of them multiply
in bfloat16 by autocast, clip the gradient's norm, step AdamW and log every step; the time of a step
is that between two lines of the log, and the median of the last ones counts. --processor_time takes
what the processor worked in between instead, on one thread: for machines that others use too.

The claims: masked-dense at least 1.8 times as fast as Model Zoo, sparse kernels 3 times.
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np
from machine import machine, processor_seconds
from steps import number_of_heads, share_of_zeros

ROOT = Path(__file__).parents[1]
WARM_UP = 2  # steps that do not count
CONFIG = """\
trainer:
  init:
    seed: 1
    model_dir: {folder}/ours
    backend: {{backend_type: CPU}}
    model:
      name: gpt3
      vocab_size: {vocab_size}
      max_position_embeddings: {sequence_length}
      hidden_size: {hidden_size}
      num_hidden_layers: {layers}
      num_heads: {heads}
      filter_size: {filter_size}
      dropout_rate: 0.0
      attention_dropout_rate: 0.0
    optimizer:
      AdamW: {{betas: [0.9, 0.95], eps: 1.0e-8, weight_decay: 0.1}}
    schedulers:
      - LinearLR: {{initial_learning_rate: 1.0e-4, end_learning_rate: 1.0e-5, total_iters: 1000}}
    precision: {{enabled: true, fp16_type: bfloat16, max_gradient_norm: 1.0}}
    sparsity:
      algorithm: static
      sparsity: {sparsity}
      param_filter:
        - "*proj_[qkv]_dense_layer.weight"
        - "*proj_output_dense_layer.weight"
        - "*linear_layer.weight"
    loop: {{max_steps: {steps}}}
    checkpoint: {{steps: 1000}}
    logging: {{log_steps: 1}}
  fit:
    train_dataloader:
      data_processor: GptHDF5MapDataProcessor
      data_dir: {folder}/data
      batch_size: {batch_size}
      shuffle: false
"""
KERNELS = "    callbacks: [SparseKernels: {}]\n"


def write_inputs(folder: Path, arguments: argparse.Namespace) -> dict[str, Path]:
    """Random tokens, and the configuration without and with sparse kernels."""
    length = arguments.sequence_length
    generator = np.random.default_rng(0)
    count = arguments.batch_size * arguments.steps
    tokens = generator.integers(0, arguments.vocab_size, (count, length + 1), dtype=np.int32)
    rows = np.stack([tokens[:, :-1], np.ones((count, length), np.int32), tokens[:, 1:]], axis=1)
    (folder / "data").mkdir()
    with h5py.File(folder / "data" / "data.h5", "w") as file:
        file["data"] = rows
        file.attrs["n_examples"] = count
    numbers = {
        name: getattr(arguments, name)
        for name in ("vocab_size", "sequence_length", "hidden_size", "layers", "sparsity")
    }
    text = CONFIG.format(
        folder=folder,
        heads=number_of_heads(arguments.hidden_size),
        filter_size=4 * arguments.hidden_size,
        batch_size=arguments.batch_size,
        steps=arguments.steps,
        **numbers,
    )
    texts = {"masked": text, "kernels": text.replace("    loop:", KERNELS + "    loop:")}
    paths = {}
    for name, content in texts.items():
        paths[name] = folder / f"{name}.yaml"
        paths[name].write_text(content)
    return paths


def step_seconds(
    command: list[str],
    line: re.Pattern[str],
    environment: Mapping[str, str],
    processor_time: bool,
) -> float:
    """The median time between two of the lines that a program prints after each step."""
    times, last = [], []
    if processor_time:
        environment = {**environment, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        for text in process.stdout:
            last = [*last[-30:], text]
            if line.search(text):
                used = processor_seconds(process.pid) if processor_time else time.perf_counter()
                times.append(used)
    if process.returncode != 0 or len(times) < WARM_UP + 2:
        raise SystemExit(f"{' '.join(command)} failed:\n{''.join(last)}")
    each = [after - before for before, after in pairwise(times)]
    return statistics.median(each[WARM_UP - 1 :])


def contenders(
    arguments: argparse.Namespace, folder: Path, paths: Mapping[str, Path]
) -> dict[str, tuple[list[str], re.Pattern[str], dict[str, str]]]:
    """By name: a command, the line that it prints after a step, and additions to its environment.

    The peer comes first, if it was given.
    """
    found = {}
    peer = "Model Zoo 2.10, CPU backend"
    if arguments.modelzoo is not None:
        command = [str(arguments.peer_python), "-W", "ignore", "-m", "modelzoo_mediswift.cli.cszoo"]
        command += ["fit", str(paths["masked"]), "--target_device", "CPU"]
        found[peer] = (
            [*command, "-o", str(folder / "peer")],
            re.compile(r"Train Device=\w+, Step=\d+, Loss="),
            {"PYTHONPATH": os.pathsep.join([str(ROOT), str(arguments.modelzoo)])},
        )
    ours = [sys.executable, "run.py", "CPU", "--params"]
    for name, config in (("masked-dense", "masked"), ("sparse kernels", "kernels")):
        command = [*ours, str(paths[config]), "--model_dir", str(folder / config)]
        found[f"ours, {name}"] = (command, re.compile(r"^step \d+/\d+: loss"), {})
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("modelzoo", type=Path, nargs="?", help="its src folder; none: ours alone")
    parser.add_argument("--peer_python", type=Path, default=Path(sys.executable))
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--hidden_size", type=int, default=512)
    parser.add_argument("--vocab_size", type=int, default=42384)
    parser.add_argument("--batch_size", type=int, default=4)
    parser.add_argument("--sequence_length", type=int, default=512)
    parser.add_argument("--sparsity", type=share_of_zeros, default=0.75)
    parser.add_argument("--steps", type=int, default=8, help=f"the first {WARM_UP} do not count")
    parser.add_argument("--turns", type=int, default=1, help="the best median of each counts")
    parser.add_argument("--processor_time", action="store_true", help="on one thread")
    arguments = parser.parse_args()
    if arguments.steps < WARM_UP + 2:
        parser.error(f"--steps: expected at least {WARM_UP + 2}, got {arguments.steps}")
    print(machine())
    print(
        f"{arguments.layers} layers, d = {arguments.hidden_size}, vocabulary "
        f"{arguments.vocab_size:,}, batch {arguments.batch_size} x {arguments.sequence_length}, "
        f"{arguments.sparsity:.0%} sparse, bf16"
        + (", processor time of one thread" if arguments.processor_time else "")
    )
    best: dict[str, float] = {}
    for _ in range(arguments.turns):
        with tempfile.TemporaryDirectory() as name:
            paths = write_inputs(Path(name), arguments)
            for who, what in contenders(arguments, Path(name), paths).items():
                best[who] = min(
                    best.get(who, float("inf")), step_seconds(*what, arguments.processor_time)
                )
                print(f"{who}: {best[who]:.3f} s/step", flush=True)
    names = list(best)
    for name in names[1:]:
        print(f"{names[0]} / {name}: {best[names[0]] / best[name]:.2f}")


if __name__ == "__main__":
    main()
