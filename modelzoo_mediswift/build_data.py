"""From a configuration to the loaders of training and validation data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from modelzoo_mediswift.config.callbacks import GroupByLength
from modelzoo_mediswift.config.data import DataLoaderConfig
from modelzoo_mediswift.config.model import ModelConfig
from modelzoo_mediswift.config.trainer import FitConfig, InitConfig, TrainerConfig
from modelzoo_mediswift.data.batch import WHOLE, Share, Validation
from modelzoo_mediswift.data.hdf5 import SequenceSource, open_sequences
from modelzoo_mediswift.data.loader import EvalLoader, TrainLoader
from modelzoo_mediswift.data.overlap import refuse_overlap, tests_beside
from modelzoo_mediswift.errors import UserError


def open_data(config: DataLoaderConfig, model: ModelConfig) -> SequenceSource:
    """A dataloader's sequences. Raises UserError where they are longer than the model can read."""
    source = open_sequences(config.data_dir, config.max_sequence_length)
    if source.max_sequence_length > model.max_position_embeddings:
        raise UserError(
            f"{config.data_dir[0]}: sequences have {source.max_sequence_length} tokens, but the "
            f"model's max_position_embeddings is {model.max_position_embeddings}"
        )
    return source


def refuse_shared_examples(fit: FitConfig) -> None:
    """Raises UserError if an example of the training data validates or tests, or if the first
    validation set, which a model is chosen by, has examples of the test set beside it."""
    trained = fit.train_dataloader.data_dir
    held_out = [folder for loader in fit.val_dataloader for folder in loader.data_dir]
    refuse_overlap(trained, dict.fromkeys([*held_out, *tests_beside([*trained, *held_out])]))
    chosen_by = fit.val_dataloader[0].data_dir if fit.val_dataloader else ()
    for folder, test in zip(chosen_by, tests_beside(chosen_by), strict=True):
        if Path(folder) != Path(test):  # who names the test set itself means it
            refuse_overlap([folder], [test], "chooses a model on")


def loader_options(config: DataLoaderConfig, model: ModelConfig) -> dict[str, Any]:
    """Options that training and evaluation loaders share."""
    return {
        "vocab_size": model.vocab_size,
        "num_virtual_tokens": model.num_virtual_tokens,
        "num_workers": config.num_workers,
        "prefetch_factor": config.prefetch_factor,
        "persistent_workers": config.persistent_workers,
        "pin_memory": True,
        "cut_padding": True,  # a Cerebras system's workers read by themselves, and cut nothing
    }


def train_loader(
    config: DataLoaderConfig,
    source: SequenceSource,
    model: ModelConfig,
    group_window: int = 0,
    share: Share = WHOLE,
) -> TrainLoader:
    """Batches for training; of several processes, this one's `share` of each."""
    return TrainLoader(
        source,
        config.batch_size,
        shuffle=config.shuffle,
        shuffle_seed=config.shuffle_seed,
        num_samples=config.num_samples,
        drop_last=config.drop_last,
        pad_last=config.pad_last,
        group_window=group_window,
        share=share,
        **loader_options(config, model),
    )


def group_window(init: InitConfig) -> int:
    """Batches among which the training sequences are grouped by length; 0: they are not."""
    grouping = init.callback(GroupByLength)
    return grouping.window if grouping else 0


def eval_loaders(
    configs: tuple[DataLoaderConfig, ...],
    init: InitConfig,
    by_length: bool = False,
    share: Share = WHOLE,
) -> dict[str, tuple[DataLoaderConfig, EvalLoader]]:
    """A name and a loader for each validation set; opened now, to fail early."""
    loaders: dict[str, tuple[DataLoaderConfig, EvalLoader]] = {}
    for number, config in enumerate(configs, start=1):
        source = open_data(config, init.model)
        steps = init.loop.eval_steps
        loader = EvalLoader(
            source,
            config.batch_size,
            num_samples=steps * config.batch_size if steps else config.num_samples,
            by_length=by_length,
            share=share,
            **loader_options(config, init.model),
        )
        folder = config.data_dir[0]
        names = (Path(folder).name, folder, f"{folder} ({number})")
        loaders[next(name for name in names if name not in loaders)] = config, loader
    return loaders


def validation_passes(
    configs: tuple[DataLoaderConfig, ...], init: InitConfig, share: Share = WHOLE
) -> Validation:
    """`eval_loaders` as the trainer takes them; by length where the training data are."""
    loaders = eval_loaders(configs, init, by_length=group_window(init) > 0, share=share)
    return {name: loader.__iter__ for name, (_, loader) in loaders.items()}


def validation_loaders(config: TrainerConfig, mode: str = "eval") -> tuple[DataLoaderConfig, ...]:
    """The data of `trainer.validate`, or in mode eval_all of `trainer.validate_all`; where that
    names none, what `trainer.fit` evaluates on."""
    loaders: tuple[DataLoaderConfig, ...] = ()
    if mode == "eval_all" and config.validate_all is not None:
        loaders = config.validate_all.val_dataloaders
    if not loaders and config.validate_ is not None:
        loaders = (config.validate_.val_dataloader,)
    if not loaders and config.fit is not None:
        loaders = config.fit.val_dataloader
    if not loaders:
        raise UserError("the configuration names no validation data (trainer.validate)")
    return loaders
