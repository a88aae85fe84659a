"""Run as a program: one YAML on both engines; the library has one backend per process."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from modelzoo_mediswift import build, build_csx
from modelzoo_mediswift.cerebras.environment import require_cerebras
from modelzoo_mediswift.config.load import load_config
from modelzoo_mediswift.sparsity.set import SET

require_cerebras()

import cerebras.pytorch as cstorch  # noqa: E402

STEPS, PAUSE = 50, 20
KEY_BIAS = "proj_k_dense_layer.bias"


def largest(pairs: list[tuple[Any, Any]]) -> float:
    return max(float(abs(a - b).max()) if hasattr(a, "max") else abs(a - b) for a, b in pairs)


def same_growth_scores() -> None:
    """SET grows connections at random, and each engine draws its own numbers. Here both get the
    same ones, which depend on a weight's shape alone."""

    def scores(weight: torch.Tensor) -> torch.Tensor:
        return torch.rand(weight.shape, generator=torch.Generator().manual_seed(weight.numel()))

    library = sys.modules["cerebras.pytorch.sparse.set"]
    library.torch = _Torch(scores)
    SET.growth_scores = lambda self, name, weight, gradient, step: scores(weight)


class _Torch:
    """The module torch, but for one function."""

    def __init__(self, rand_like: Callable[[torch.Tensor], torch.Tensor]) -> None:
        self.rand_like = rand_like

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)


def main(path: str) -> None:
    same_growth_scores()
    config = load_config(Path(path))
    torch_job = build.build_fit(config, "CPU")
    ours: list[Any] = []
    engine = torch_job.trainer.engine
    engine.train(iter(torch_job.loader), 0, STEPS, 1, lambda r: ours.append(r) or True)

    job = build_csx.build_fit(
        config, make_backend=lambda _, folder: cstorch.backend("CPU", artifact_dir=str(folder))
    )
    other = job.trainer.engine
    theirs: list[Any] = []
    other.train(job.loader, 0, PAUSE, 1, lambda r: theirs.append(r) or True)
    middle, position = other.state(), job.loader.state_dict()
    other.train(job.loader, PAUSE, STEPS, 1, lambda r: theirs.append(r) or True)
    a, b = engine.state(), other.state()
    masks = [name for name in a.model if name.endswith("_mask")]
    weights = [name for name in a.model if name not in masks]
    evaluated = [
        (e.evaluate(passes()), f.evaluate(others()))
        for (e, passes), (f, others) in zip(
            ((engine, v) for v in torch_job.validation.values()),
            ((other, v) for v in job.validation.values()),
            strict=True,
        )
    ]
    other.load_state(middle)
    job.loader.load_state_dict(position)
    again: list[Any] = []
    other.train(job.loader, PAUSE, STEPS, 1, lambda r: again.append(r) or True)
    found = {
        "names": sorted(a.model) == sorted(b.model),
        "steps": [r.step for r in theirs] == [r.step for r in ours] == list(range(1, STEPS + 1)),
        "loss": largest([(x.loss, y.loss) for x, y in zip(ours, theirs, strict=True)]),
        "first_loss": ours[0].loss,
        "last_loss": ours[-1].loss,
        "lr": largest(
            [(x.learning_rate, y.learning_rate) for x, y in zip(ours, theirs, strict=True)]
        ),
        "grad_norm": largest(
            [(x.grad_norm, y.grad_norm) for x, y in zip(ours, theirs, strict=True)]
        ),
        "weights": largest([(a.model[n], b.model[n]) for n in weights]),
        "but_key_biases": largest([(a.model[n], b.model[n]) for n in weights if KEY_BIAS not in n]),
        "n_masks": len(masks),
        "masks": all(a.model[n].equal(b.model[n]) for n in masks),
        "moments": largest([(a.optimizer[n], b.optimizer[n]) for n in a.optimizer]),
        "eval_loss": largest([(x.loss, y.loss) for x, y in evaluated]),
        "eval_counts": all(
            (x.accuracy, x.n_tokens) == (y.accuracy, y.n_tokens) for x, y in evaluated
        ),
        "resumed": [r.loss for r in again] == [r.loss for r in theirs[PAUSE:]],
    }
    worst = max(weights, key=lambda n: float((a.model[n] - b.model[n]).abs().max()))
    print(json.dumps(found | {"worst_weight": worst}))


main(sys.argv[1])
