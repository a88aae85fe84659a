"""Checkpoints of Model Zoo and cerebras-pytorch (`.mdl`) from and to this project's.

Both hold the same model under the same names; what differs is

* tied tensors, which Model Zoo has under all their names;
* the optimizer, which numbers its parameters: matrices first, then vectors, each in the model's
  order. The library keeps powers of beta where PyTorch counts steps;
* the schedule, which is state there and a function of the step here;
* random generators and the position in the data, which Model Zoo's file lacks. The position
  follows from step and batch size, since the data order is the same. What else is small and ours
  travels in the file's metadata, where Model Zoo does not look.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from modelzoo_mediswift.checkpoint.directory import Checkpoint
from modelzoo_mediswift.checkpoint.mdl_file import RELEASE, MdlReader, TensorLeaf, write_mdl
from modelzoo_mediswift.config.load import parse_config
from modelzoo_mediswift.config.optimizer import SequentialLR
from modelzoo_mediswift.config.trainer import TrainerConfig
from modelzoo_mediswift.errors import UserError
from modelzoo_mediswift.optim.adamw import MOMENTS, POWERS
from modelzoo_mediswift.plan.parameters import parameter_shapes, sparsity_by_name
from modelzoo_mediswift.sparsity.masking import MASK_SUFFIX

# Model Zoo's second name of a tensor -> the first, which is ours.
TIED = {
    "model.transformer_decoder.norm.weight": "model.ln_f.weight",
    "model.transformer_decoder.norm.bias": "model.ln_f.bias",
    "model.lm_head.weight": "model.embedding_layer.word_embeddings.weight",
}
# Where Model Zoo's `mediswift` has the soft prompt: all its names must begin with `model.`.
PROMPT, THEIR_PROMPT = "prompt_embedding.weight", "model.prompt_embedding.weight"
SCALER = "optimizer.grad_scaler."
SCHEDULE = "optimizer.schedule.last_epoch"
SEED = "rng.sparsity_seed"
OURS = "mediswift"  # the key in the file's metadata


def read_mdl(path: Path, config: str | None = None) -> Checkpoint:
    """A `.mdl` as a checkpoint, without random generators.

    `config` is the YAML of the run, where the file does not say it. Raises UserError for a file
    that is damaged or holds another model than the YAML describes.
    """
    with MdlReader(path) as reader:
        tree = reader.tree
        if not isinstance(tree, dict) or not isinstance(tree.get("model"), dict):
            raise UserError(f"{path}: holds no model")
        leaves = tree["model"]
        tree["model"] = {PROMPT if n == THEIR_PROMPT else n: leaves[n] for n in leaves}
        step = tree.get("global_step")
        if isinstance(step, TensorLeaf):
            step = int(reader.read(step))
        if not isinstance(step, int):
            raise UserError(f"{path}: has no global_step")
        params, ours = _metadata(tree)
        text = config or (yaml.safe_dump(params, sort_keys=False) if params else None)
        if text is None:
            raise UserError(f"{path}: does not say how it was trained; name the YAML (--params)")
        parsed = parse_config(text, str(path))
        model = _read_model(reader, tree["model"], parsed)
        training = _read_optimizer(reader, tree, model, step)
        if "sparsity_seed" in ours:
            training[SEED] = torch.tensor(ours["sparsity_seed"])
        return Checkpoint(
            step=step,
            model=model,
            training=training,
            loader=ours.get("loader") or _position(parsed, step),
            data=ours.get("data") or {},
            config=text,
            versions=ours.get("versions") or {},
        )


def to_mdl(checkpoint: Checkpoint, path: Path, learning_rate: float) -> None:
    """Write a checkpoint as Model Zoo would have; `learning_rate` is that of the next step."""
    config = parse_config(checkpoint.config, str(path))
    names = list(parameter_shapes(config.init.model))  # in Model Zoo's order
    missing = [name for name in names if name not in checkpoint.model]
    if missing:
        raise UserError(f"the checkpoint lacks {missing[0]}")
    model: dict[str, Tensor] = {}
    for name in names:
        model[THEIR_PROMPT if name == PROMPT else name] = checkpoint.model[name]
        mask = name + MASK_SUFFIX
        if mask in checkpoint.model:
            model[mask] = checkpoint.model[mask]
    model |= {tied: checkpoint.model[name] for tied, name in TIED.items()}
    tree: dict[str, Any] = {"model": model}
    training = checkpoint.training
    if any(name.startswith("optimizer.") for name in training):
        done = int(training.get(SCHEDULE, checkpoint.step))
        tree["optimizer"] = _optimizer_state(checkpoint, config, names, learning_rate)
        if config.init.scheduler is not None:
            tree["schedulers"] = [_schedule_state(config, done)]
        if config.init.sparsity:
            tree["sparsity"] = [
                {}
                if block.algorithm == "static"
                else {"step": torch.tensor(checkpoint.step), "sparsity": {}}
                for block in config.init.sparsity
            ]
        scaler = {n.removeprefix(SCALER): t for n, t in training.items() if n.startswith(SCALER)}
        if scaler:
            tree["grad_scaler"] = scaler
    tree["global_step"] = checkpoint.step
    tree["__metadata__"] = [_metadata_entry(checkpoint, config)]
    write_mdl(tree, path)


def _metadata(tree: Mapping[str, Any]) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """The run's parameters, and what only this project keeps; empty where there is none."""
    entries = tree.get("__metadata__")
    entry = entries[-1] if isinstance(entries, list) and entries else {}
    if not isinstance(entry, dict):
        return {}, {}
    params, ours = entry.get("params"), entry.get(OURS)
    params = params if isinstance(params, dict) and "trainer" in params else {}
    return params, ours if isinstance(ours, dict) else {}


def _metadata_entry(checkpoint: Checkpoint, config: TrainerConfig) -> dict[str, Any]:
    ours: dict[str, Any] = {
        "loader": checkpoint.loader,
        "data": checkpoint.data,
        "versions": checkpoint.versions,
    }
    if SEED in checkpoint.training:
        ours["sparsity_seed"] = int(checkpoint.training[SEED])
    name = "GPT3Model" if config.init.model.name == "gpt3" else "MediSwiftModel"
    params = yaml.safe_load(checkpoint.config)
    return {"version": RELEASE, "model_name": name, "params": params, OURS: ours}


def _position(config: TrainerConfig, step: int) -> dict[str, Any]:
    """The samples that `step` steps of this configuration take."""
    if config.fit is None:
        return {}
    per_step = config.fit.train_dataloader.batch_size * config.init.loop.grad_accum_steps
    return {"samples_consumed": step * per_step}


def _read_model(
    reader: MdlReader, leaves: Mapping[str, Any], config: TrainerConfig
) -> dict[str, Tensor]:
    """Weights and masks, checked against the configuration before they are read."""
    shapes = parameter_shapes(config.init.model)
    masked = sparsity_by_name(shapes, config.init.sparsity)
    wanted = shapes | {name + MASK_SUFFIX: shapes[name] for name in masked}
    found = {name: leaf for name, leaf in leaves.items() if name not in TIED}
    for who, names in (
        ("lacks", [n for n in wanted if n not in found]),
        ("has, unlike its configuration,", [n for n in found if n not in wanted]),
    ):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise UserError(f"{reader.path}: {who} {names[0]}{more}")
    for name, shape in wanted.items():
        leaf = found[name]
        if isinstance(leaf, TensorLeaf) and leaf.shape != shape:
            raise UserError(
                f"{reader.path}: {name} is {leaf.shape} there, {shape} in its configuration"
            )
    tensors = {name: _of_type(reader, name, leaf) for name, leaf in found.items()}
    for tied, name in TIED.items():
        if tied in leaves and not tensors[name].equal(reader.read(leaves[tied])):
            raise UserError(f"{reader.path}: {tied} is not {name}, to which it is tied here")
    for name in masked:
        tensors[name].mul_(tensors[name + MASK_SUFFIX])  # the library's next step would do it
    return tensors


def _of_type(reader: MdlReader, name: str, leaf: Any) -> Tensor:
    tensor = reader.read(leaf)
    expected = torch.bool if name.endswith(MASK_SUFFIX) else torch.float32
    if tensor.dtype != expected:
        raise UserError(f"{reader.path}: {name} is {tensor.dtype}; expected {expected}")
    return tensor


def _read_optimizer(
    reader: MdlReader, tree: Mapping[str, Any], model: Mapping[str, Tensor], step: int
) -> dict[str, Tensor]:
    """Moments, powers of beta, the schedule's step and the loss scale; {} without optimizer."""
    optimizer = tree.get("optimizer")
    if not isinstance(optimizer, dict) or not optimizer.get("state"):
        return {}
    names = [name for name in tree["model"] if name in model and not name.endswith(MASK_SUFFIX)]
    training = {}
    for name, index in _numbered(reader, optimizer, names, model).items():
        slots = optimizer["state"].get(index, {})
        unknown = set(slots) - {*MOMENTS, *POWERS}
        if unknown or not set(MOMENTS) <= set(slots):
            raise UserError(
                f"{reader.path}: optimizer.state.{index} holds {', '.join(slots) or 'nothing'}; "
                "expected AdamW's moments"
            )
        for key, leaf in slots.items():
            tensor = reader.read(leaf) if isinstance(leaf, TensorLeaf) else torch.tensor(leaf)
            if key in MOMENTS:
                if tensor.shape != model[name].shape:
                    raise UserError(
                        f"{reader.path}: optimizer.state.{index}.{key} is {tuple(tensor.shape)}, "
                        f"{name} is {tuple(model[name].shape)}"
                    )
                if name + MASK_SUFFIX in model:
                    tensor.mul_(model[name + MASK_SUFFIX])
            training[f"optimizer.{name}.{key}"] = tensor
        training[f"optimizer.{name}.step"] = torch.tensor(float(step))
    schedulers = tree.get("schedulers")
    if isinstance(schedulers, list) and schedulers and "last_epoch" in schedulers[0]:
        training[SCHEDULE] = _number(reader, schedulers[0]["last_epoch"])
    for key, leaf in (tree.get("grad_scaler") or {}).items():
        training[SCALER + key] = _number(reader, leaf)
    return training


def _number(reader: MdlReader, leaf: Any) -> Tensor:
    return torch.tensor(leaf) if isinstance(leaf, int | float) else reader.read(leaf)


def _numbered(
    reader: MdlReader,
    optimizer: Mapping[str, Any],
    names: Sequence[str],
    model: Mapping[str, Tensor],
) -> dict[str, int]:
    """Name -> its number in the optimizer. Raises UserError if the groups are other than ours."""
    groups = [group["params"] for group in optimizer.get("param_groups", []) if group["params"]]
    expected = [group for group in _by_decay({n: model[n].dim() for n in names}) if group]
    if [len(group) for group in groups] != [len(group) for group in expected]:
        raise UserError(
            f"{reader.path}: the optimizer's groups have {[len(g) for g in groups]} parameters; "
            f"expected {[len(g) for g in expected]}: matrices, then vectors"
        )
    return {
        name: index
        for group, ours in zip(groups, expected, strict=True)
        for index, name in zip(group, ours, strict=True)
    }


def _by_decay(dims: Mapping[str, int]) -> tuple[list[str], list[str]]:
    """Names of matrices, which decay, and of vectors, which do not."""
    matrices = [name for name, dim in dims.items() if dim >= 2]
    return matrices, [name for name, dim in dims.items() if dim < 2]


def _optimizer_state(
    checkpoint: Checkpoint, config: TrainerConfig, names: Sequence[str], learning_rate: float
) -> dict[str, Any]:
    adam = config.init.optimizer
    assert adam is not None, "a checkpoint with moments was trained with an optimizer"
    groups = _by_decay({name: checkpoint.model[name].dim() for name in names})
    state: dict[int, dict[str, Tensor]] = {}
    for name in (*groups[0], *groups[1]):
        try:
            slots = {key: checkpoint.training[f"optimizer.{name}.{key}"] for key in MOMENTS}
        except KeyError as error:
            raise UserError(f"the checkpoint has no {error.args[0]}") from error
        for key, beta in zip(POWERS, adam.betas, strict=True):
            power = torch.tensor(beta ** (checkpoint.step + 1), dtype=torch.float32)
            slots[key] = checkpoint.training.get(f"optimizer.{name}.{key}", power)
        state[len(state)] = slots
    first = len(groups[0])
    shared = {
        "betas": adam.betas,
        "eps": adam.eps,
        "l2_regularization_rate": 0.0,
        "correct_bias": True,
        "amsgrad": False,
    }
    return {
        "state": state,
        "param_groups": [
            {
                "weight_decay": decay,
                "lr": torch.tensor(learning_rate, dtype=torch.float32),
                **shared,
                "params": list(numbers),
            }
            for decay, numbers in (
                (adam.weight_decay, range(first)),
                (0.0, range(first, len(state))),
            )
        ],
    }


def _schedule_state(config: TrainerConfig, done: int) -> dict[str, Any]:
    """Steps done, in the schedule and in each of its parts."""
    state: dict[str, Any] = {"last_epoch": torch.tensor(done)}
    scheduler = config.init.scheduler
    if isinstance(scheduler, SequentialLR):
        starts = (0, *(scheduler.milestones or ()))
        state["_schedulers"] = [
            {"last_epoch": torch.tensor(max(0, done - start))} for start in starts
        ]
    return state
