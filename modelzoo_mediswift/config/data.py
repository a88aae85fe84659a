"""Dataloaders of ``trainer.fit``, ``trainer.validate`` and ``trainer.validate_all``."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from modelzoo_mediswift.config import modelzoo_keys
from modelzoo_mediswift.config.modelzoo_keys import Refused
from modelzoo_mediswift.config.section import (
    NonNegativeInt,
    OneOrMore,
    PathText,
    PositiveInt,
    Section,
    Seed,
    mappings,
    only,
    problem,
    show,
    unknown,
)

PROCESSOR = "GptHDF5MapDataProcessor"


def _processor(value: object) -> object:
    if not isinstance(value, str):
        raise problem(f"expected {PROCESSOR}, got {show(value)}")
    if value in modelzoo_keys.DATA_PROCESSORS:
        raise problem(f"{modelzoo_keys.DATA_PROCESSORS[value]}; supported: {PROCESSOR}")
    if value != PROCESSOR:
        raise problem(unknown("data processor", value, [PROCESSOR]))
    return value


class DataLoaderConfig(Section):
    """Packed HDF5 files, read at random by index."""

    refused: ClassVar[Mapping[str, Refused]] = modelzoo_keys.DATALOADER

    data_processor: Annotated[Literal["GptHDF5MapDataProcessor"], BeforeValidator(_processor)]
    """Model Zoo's name of the reader."""
    data_dir: Annotated[tuple[PathText, ...], OneOrMore, Field(min_length=1)]
    """Directories of `*.h5` files, relative to the working directory."""
    batch_size: PositiveInt
    """Sequences per batch, over all devices; a step takes loop.grad_accum_steps batches."""
    shuffle: bool = False
    """Whether the order is drawn anew in every epoch."""
    shuffle_seed: Seed = 0
    """Seed of the order."""
    max_sequence_length: PositiveInt | None = None
    """Tokens per sequence. Needed for corpus files; must be null for sample files, whose
    sequences are already cut."""
    num_samples: PositiveInt | None = None
    """Length of an epoch in sequences; None for all there are."""
    drop_last: bool = True
    """Whether sequences that do not fill the last batch wait for the next epoch."""
    pad_last: bool = False
    """Whether the last batch is filled up with empty sequences."""
    sort_files: Annotated[
        Literal[True],
        BeforeValidator(only(True, "reading files in the system's order is not supported", {})),
    ] = True
    """Files are read in the order of their names."""
    num_workers: NonNegativeInt = 0
    """Processes that read; 0 reads in the main process."""
    prefetch_factor: PositiveInt | None = 10
    """Batches each worker reads ahead; None without workers."""
    persistent_workers: bool = True
    """Whether workers outlive an epoch; false without workers."""

    @field_validator("prefetch_factor", "persistent_workers", mode="before")
    @classmethod
    def _need_workers(cls, value: object, info: ValidationInfo) -> object:
        if info.data.get("num_workers") == 0:
            return None if info.field_name == "prefetch_factor" else False
        return value


DataLoaders = Annotated[
    tuple[DataLoaderConfig, ...],
    BeforeValidator(lambda value: mappings(value, "a dataloader or a list of them")),
]
