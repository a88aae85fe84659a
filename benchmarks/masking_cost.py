"""How much of a training step masking takes: of gradients, and at a change of the masks.

    python benchmarks/masking_cost.py [--algorithm rigl --hidden_size 1024 --layers 4 ...]

The claim: under 2 % of a step where masks do not change. Dynamic algorithms change theirs at every
other step here. All times are of the same engine in the same run.
"""

import argparse
import platform
import statistics
import time

import torch

from modelzoo_mediswift.data.batch import Batch
from modelzoo_mediswift.engine.torch_engine import TorchEngine, Update
from modelzoo_mediswift.model.gpt3 import GPT3
from modelzoo_mediswift.optim.adamw import AdamW
from modelzoo_mediswift.optim.schedules import ConstantLR
from modelzoo_mediswift.sparsity.filters import SparsityRule
from modelzoo_mediswift.sparsity.masking import Masking, SparseParameter
from modelzoo_mediswift.sparsity.schedules import Every


class TimedMasking(Masking):
    """Masking, with the time that it takes."""

    seconds = 0.0

    def mask_gradients(self, step: int) -> None:
        start = time.perf_counter()
        super().mask_gradients(step)
        self.seconds += time.perf_counter() - start

    def change_masks(self, step: int) -> list[SparseParameter]:
        start = time.perf_counter()
        changed = super().change_masks(step)
        self.seconds += time.perf_counter() - start
        return changed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--algorithm", choices=("static", "set", "rigl"), default="static")
    parser.add_argument("--hidden_size", type=int, default=1024)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--vocab_size", type=int, default=42384)
    parser.add_argument("--batch_size", type=int, default=4)
    parser.add_argument("--sequence_length", type=int, default=512)
    parser.add_argument("--steps", type=int, default=5)
    arguments = parser.parse_args()

    model = GPT3(
        vocab_size=arguments.vocab_size,
        hidden_size=arguments.hidden_size,
        num_hidden_layers=arguments.layers,
        num_heads=max(1, arguments.hidden_size // 64),
        filter_size=4 * arguments.hidden_size,
        max_position_embeddings=arguments.sequence_length,
    )
    rule = SparsityRule(0.75, algorithm=arguments.algorithm, updates=Every(2))
    masking = TimedMasking(model, [rule], seed=0)
    optimizer = AdamW(model, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1)
    engine = TorchEngine(
        model,
        torch.device("cpu"),
        Update(optimizer, ConstantLR(1e-4), masking, max_gradient_norm=1.0),
    )
    size = (arguments.batch_size, arguments.sequence_length)
    ids = torch.randint(arguments.vocab_size, size, dtype=torch.int32)
    batch = Batch(ids, torch.ones_like(ids), ids.roll(-1, 1), 0, arguments.batch_size)

    engine.train([batch], 0, 1, 1, lambda result: True)  # warm-up
    shares: dict[bool, list[float]] = {False: [], True: []}  # by whether masks changed
    times = []
    for step in range(1, 2 * arguments.steps + 1):
        masking.seconds, start = 0.0, time.perf_counter()
        engine.train([batch], step, step + 1, 1, lambda result: True)
        times.append(time.perf_counter() - start)
        changed = arguments.algorithm != "static" and (step + 1) % 2 == 0
        shares[changed].append(masking.seconds / times[-1])
    print(f"{platform.machine()}, torch {torch.__version__}, {torch.get_num_threads()} threads")
    print(f"{arguments.algorithm}: step {statistics.median(times):.2f} s")
    for changed, values in shares.items():
        if values:
            what = "where masks change" if changed else "where masks stay"
            print(f"masking {what}: {statistics.median(values):.2%} of a step")


if __name__ == "__main__":
    main()
