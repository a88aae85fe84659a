"""How much of a training step masking takes: of gradients, and at a change of the masks.

    python benchmarks/masking_cost.py [--algorithm rigl --hidden_size 1024 --layers 4 ...]
    python benchmarks/masking_cost.py --device cuda --layers 24 --batch_size 32

The claim: under 2 % of a step where masks do not change. Dynamic algorithms change theirs at every
other step here. All times are of the same engine in the same run; on a GPU the step is compiled
bf16, and masking waits for the device before and after.
"""

import argparse
import statistics
import time

import torch
from machine import machine
from steps import make_engine, make_model, random_batch, share_of_zeros

from modelzoo_mediswift.engine.parallel import distribute
from modelzoo_mediswift.sparsity.filters import SparsityRule
from modelzoo_mediswift.sparsity.masking import Masking, SparseParameter
from modelzoo_mediswift.sparsity.schedules import Every


class TimedMasking(Masking):
    """Masking, with the time that it takes."""

    seconds = 0.0
    on_gpu = False

    def _now(self) -> float:
        if self.on_gpu:  # what was asked of it before is done
            torch.cuda.synchronize()
        return time.perf_counter()

    def mask_gradients(self, step: int) -> None:
        start = self._now()
        super().mask_gradients(step)
        self.seconds += self._now() - start

    def change_masks(self, step: int) -> list[SparseParameter]:
        start = self._now()
        changed = super().change_masks(step)
        self.seconds += self._now() - start
        return changed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--algorithm", choices=("static", "set", "rigl"), default="static")
    parser.add_argument("--sparsity", type=share_of_zeros, default=0.75)
    parser.add_argument("--hidden_size", type=int, default=1024)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--vocab_size", type=int, default=42384)
    parser.add_argument("--batch_size", type=int, default=4)
    parser.add_argument("--sequence_length", type=int, default=512)
    parser.add_argument("--steps", type=int, default=5)
    arguments = parser.parse_args()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("--device cuda: PyTorch finds no CUDA device here")

    length = arguments.sequence_length
    model = make_model(arguments.vocab_size, arguments.hidden_size, arguments.layers, length)
    rule = SparsityRule(arguments.sparsity, algorithm=arguments.algorithm, updates=Every(2))
    masking = TimedMasking(model, [rule], seed=0)
    device = torch.device(arguments.device)
    masking.on_gpu = device.type == "cuda"
    module = distribute(model, device, sparsity=masking, compiled=masking.on_gpu)
    autocast = torch.bfloat16 if masking.on_gpu else None
    engine = make_engine(model, masking, device=device, autocast=autocast, module=module)
    batch = random_batch(arguments.vocab_size, arguments.batch_size, length)

    engine.train([batch], 0, 1, 1, lambda result: True)  # warm-up
    shares: dict[bool, list[float]] = {False: [], True: []}  # by whether masks changed
    times = []
    for step in range(1, 2 * arguments.steps + 1):
        masking.seconds, start = 0.0, time.perf_counter()
        engine.train([batch], step, step + 1, 1, lambda result: True)
        times.append(time.perf_counter() - start)
        changed = arguments.algorithm != "static" and (step + 1) % 2 == 0
        shares[changed].append(masking.seconds / times[-1])
    print(machine(arguments.device))
    print(f"{arguments.algorithm}, {arguments.sparsity:.0%}: step {statistics.median(times):.3f} s")
    for changed, values in shares.items():
        if values:
            what = "where masks change" if changed else "where masks stay"
            print(f"masking {what}: {statistics.median(values):.2%} of a step")


if __name__ == "__main__":
    main()
