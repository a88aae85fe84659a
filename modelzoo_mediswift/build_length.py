"""From a configuration to the length of a run, and to when it evaluates and saves."""

from __future__ import annotations

import math

from modelzoo_mediswift.config.data import DataLoaderConfig
from modelzoo_mediswift.config.execution import LoopConfig
from modelzoo_mediswift.config.trainer import InitConfig
from modelzoo_mediswift.errors import UserError
from modelzoo_mediswift.trainer.trainer import Cadence


def steps_per_epoch(loop: LoopConfig, config: DataLoaderConfig, n_sequences: int) -> int:
    """Optimizer steps in a pass over training data of `n_sequences`, rounded down.

    Raises UserError where the data does not suffice for one.
    """
    samples = config.num_samples or n_sequences
    batches = loop.steps_per_epoch or samples // config.batch_size
    if loop.steps_per_epoch is None and not config.drop_last and samples % config.batch_size:
        batches += 1
    steps = batches // loop.grad_accum_steps
    if steps == 0:
        raise UserError(
            f"an epoch has {batches} batches of {config.batch_size} ({samples} sequences); a step "
            f"takes {loop.grad_accum_steps}"
        )
    return steps


def total_steps(loop: LoopConfig, config: DataLoaderConfig, n_sequences: int, step: int) -> int:
    """The step at which training ends that begins at `step`."""
    if loop.num_steps is not None:
        return step + loop.num_steps
    limits = [] if loop.max_steps is None else [loop.max_steps]
    if loop.num_epochs is not None:
        limits.append(loop.num_epochs * steps_per_epoch(loop, config, n_sequences))
    return min(limits)


def make_cadence(init: InitConfig, total: int) -> Cadence:
    """A share of the run counts from step 0, so that a run which was stopped and goes on evaluates
    where it would have."""
    frequency = init.loop.eval_frequency
    if isinstance(frequency, float):
        frequency = max(1, math.ceil(frequency * (init.loop.num_steps or total)))  # Model Zoo's way
    return Cadence(
        total,
        init.logging.log_steps,
        evaluate_every=frequency or 0,
        checkpoint_every=init.checkpoint.steps or 0,
        checkpoint_first=init.checkpoint.save_initial_checkpoint,
    )
