"""Run as a program: a run that moves between the library's own `.mdl` and the torch engine."""

import json
import sys
from pathlib import Path
from typing import Any

from modelzoo_mediswift import build, build_csx
from modelzoo_mediswift.build_model import build_schedule
from modelzoo_mediswift.cerebras.environment import require_cerebras
from modelzoo_mediswift.checkpoint.directory import load_checkpoint
from modelzoo_mediswift.checkpoint.mdl import read_mdl, to_mdl
from modelzoo_mediswift.config.dump import to_yaml
from modelzoo_mediswift.config.load import load_config
from modelzoo_mediswift.trainer.checkpointing import Checkpointing, engine_state

require_cerebras()

import cerebras.pytorch as cstorch  # noqa: E402

FIRST, SECOND, END = 10, 15, 20
config = load_config(Path(sys.argv[1]))
job = build_csx.build_fit(
    config, make_backend=lambda _, folder: cstorch.backend("CPU", artifact_dir=str(folder))
)
library = job.trainer.engine
torch_job = build.build_fit(config, "CPU")
ours = torch_job.trainer.engine


def train(which: Any, engine: Any, start: int, stop: int) -> list[float]:
    """Losses of steps start .. stop-1 on the data that one run would give them."""
    losses: list[float] = []
    which.loader.load_state_dict(
        {"samples_consumed": start * config.fit.train_dataloader.batch_size}
    )
    batches = which.loader if engine is library else iter(which.loader)
    engine.train(batches, start, stop, 1, lambda result: losses.append(result.loss) or True)
    return losses


def save_by_the_library(path: str) -> None:
    """As Model Zoo does: the state dict of each of the library's objects."""
    update = library.update
    state = {
        "model": library.model.state_dict(),
        "optimizer": update.optimizer.state_dict(),
        "schedulers": [update.scheduler.state_dict()],
        "sparsity": update.sparsity.state_dict(),
        "global_step": library.step,
    }
    cstorch.save(state, path)


def load_by_the_library(path: str) -> None:
    """As Model Zoo does, strictly."""
    state = cstorch.load(path)
    update = library.update
    library.model.load_state_dict(state["model"], strict=True)
    update.optimizer.load_state_dict(state["optimizer"])
    update.scheduler.load_state_dict(state["schedulers"][0])
    update.sparsity.load_state_dict(state["sparsity"])
    library.step = state["global_step"]


# Pre-training by the library, and what comes after it there.
pretraining = train(job, library, 0, FIRST)
save_by_the_library("library.mdl")
uninterrupted = train(job, library, FIRST, SECOND)

# The same steps by the torch engine, from the converted file.
converted = read_mdl(Path("library.mdl"), to_yaml(config))
ours.load_state(engine_state(converted))
by_torch = train(torch_job, ours, FIRST, SECOND)
middle = ours.state()
after = train(torch_job, ours, SECOND, END)

# Back to the library, by its own loading, and by way of a second conversion to the torch engine.
checkpointing = Checkpointing(Path("ours"), config=to_yaml(config))
folder = checkpointing.save(SECOND, middle, {"samples_consumed": 0})
checkpoint = load_checkpoint(folder)
to_mdl(checkpoint, Path("torch.mdl"), build_schedule(config.init)(SECOND))
load_by_the_library("torch.mdl")
back_in_the_library = train(job, library, SECOND, END)
library.load_state(engine_state(checkpoint))
by_folder = train(job, library, SECOND, END)
ours.load_state(engine_state(read_mdl(Path("torch.mdl"))))
back_in_torch = train(torch_job, ours, SECOND, END)

# And the library's file through a folder back into the library.
unchanged = read_mdl(Path("library.mdl"), to_yaml(config))  # an engine trains on what it is given
to_mdl(unchanged, Path("again.mdl"), build_schedule(config.init)(FIRST))
load_by_the_library("again.mdl")
again = train(job, library, FIRST, SECOND)


def gap(a: list[float], b: list[float]) -> float:
    return max(abs(x - y) for x, y in zip(a, b, strict=True))


print(
    json.dumps(
        {
            "n_masks": sum(name.endswith("_mask") for name in converted.model),
            "losses_differ": len({*pretraining, *uninterrupted}),
            "library_library": again[0] == uninterrupted[0],
            "library_library_later": gap(again, uninterrupted),
            "torch_torch": after == back_in_torch,
            "library_torch_next": abs(by_torch[0] - uninterrupted[0]),
            "library_torch": gap(by_torch, uninterrupted),
            "torch_library_next": abs(back_in_the_library[0] - after[0]),
            "torch_library": gap(back_in_the_library, after),
            "both_ways_in": by_folder == back_in_the_library,
        }
    )
)
