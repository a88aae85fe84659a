"""From a configuration to the model and its schedules."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any

from modelzoo_mediswift.config.fine_tuning import TrainOnly
from modelzoo_mediswift.config.model import Initializer as InitializerConfig
from modelzoo_mediswift.config.model import ModelConfig
from modelzoo_mediswift.config.optimizer import Scheduler as SchedulerConfig
from modelzoo_mediswift.config.optimizer import SequentialLR as SequentialConfig
from modelzoo_mediswift.config.sparsity import DROP_FRACTION, SparsityConfig
from modelzoo_mediswift.config.sparsity_schedule import AtSteps, EveryFreq
from modelzoo_mediswift.config.sparsity_schedule import Schedule as ScheduleConfig
from modelzoo_mediswift.config.trainer import InitConfig
from modelzoo_mediswift.errors import UserError
from modelzoo_mediswift.model.gpt3 import GPT3, Initializer
from modelzoo_mediswift.optim import schedules
from modelzoo_mediswift.sparsity import schedules as sparsity_schedules
from modelzoo_mediswift.sparsity.filters import SparsityRule
from modelzoo_mediswift.sparsity.masking import Masking


def build_model(config: ModelConfig, seed: int | None) -> GPT3:
    """The model on the CPU with its initial weights; with `seed` None they are to be loaded."""
    return GPT3(**model_arguments(config, seed))


def model_arguments(config: ModelConfig, seed: int | None) -> dict[str, Any]:
    """The arguments of GPT3."""
    return {
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "num_hidden_layers": config.num_hidden_layers,
        "num_heads": config.num_heads,
        "filter_size": config.filter_size,
        "max_position_embeddings": config.max_position_embeddings,
        "num_virtual_tokens": config.num_virtual_tokens,
        "layer_norm_epsilon": config.layer_norm_epsilon,
        "dropout_rate": config.dropout_rate,
        "attention_dropout_rate": config.attention_dropout_rate or 0.0,
        "embedding_dropout_rate": config.embedding_dropout_rate or 0.0,
        "embedding_initializer": _initializer(config.embedding_initializer),
        "initializer": _initializer(config.initializer),
        "output_layer_initializer": _initializer(config.output_layer_initializer),
        "seed": seed,
    }


def _initializer(config: InitializerConfig | None) -> Initializer | None:
    if config is None:
        return None
    if config.name == "normal":
        return Initializer(config.std, config.mean)
    return Initializer(config.std, config.mean, config.a, config.b)


def build_schedule(init: InitConfig) -> schedules.Schedule:
    """The learning rate as a function of the step."""
    if init.scheduler is not None:
        return _schedule(init.scheduler)
    assert init.optimizer is not None
    assert init.optimizer.learning_rate is not None
    return schedules.ConstantLR(init.optimizer.learning_rate)


def _schedule(config: SchedulerConfig) -> schedules.Schedule:
    if isinstance(config, SequentialConfig):
        return schedules.SequentialLR([_schedule(part) for part in config.schedulers])
    return getattr(schedules, config.key)(**config.arguments())


def build_masking(init: InitConfig, model: GPT3, seed: int) -> Masking | None:
    """The model's masks, drawn and applied; None for a dense model."""
    rules = [build_sparsity_rule(block) for block in init.sparsity]
    return Masking(model, rules, seed) if rules else None


def build_sparsity_rule(block: SparsityConfig) -> SparsityRule:
    """One block of the YAML's `sparsity`."""
    drop = DROP_FRACTION if block.drop_fraction is None else block.drop_fraction
    return SparsityRule(
        _sparsity_schedule(block.sparsity),
        block.init_method,
        block.param_filter,
        algorithm=block.algorithm,
        updates=_updates(block.update),
        drop_fraction=_sparsity_schedule(drop),
        balance_in_groups=block.balance_in_groups,
        balance_out_groups=block.balance_out_groups,
    )


def _sparsity_schedule(config: float | ScheduleConfig) -> float | sparsity_schedules.Schedule:
    if isinstance(config, float):
        return config
    arguments = config.model_dump()
    return sparsity_schedules.SCHEDULES[arguments.pop("type")](**arguments)


def _updates(config: EveryFreq | AtSteps | None) -> sparsity_schedules.Updates:
    if config is None:
        return sparsity_schedules.EVERY_STEP
    if isinstance(config, AtSteps):
        return sparsity_schedules.Listed(frozenset(config.steps))
    return sparsity_schedules.Every(config.freq, config.start, config.stop)


def train_only(init: InitConfig, model: GPT3) -> None:
    """Freeze what the callback TrainOnly does not name; UserError where it names nothing."""
    asked = init.callback(TrainOnly)
    if asked is None:
        return
    chosen = []
    for name, parameter in model.named_parameters():
        trains = any(fnmatchcase(name, glob) for glob in asked.param_filter)
        parameter.requires_grad_(trains)
        chosen += [name] if trains else []
    if not chosen:
        raise UserError(
            f"TrainOnly: no parameter matches {', '.join(asked.param_filter)} "
            "(the soft prompt is prompt_embedding.weight, and needs num_virtual_tokens)"
        )
