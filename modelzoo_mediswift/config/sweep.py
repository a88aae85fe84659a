"""The YAML of ``mediswift sweep``: a grid over one fine-tuning file, and how it is scored."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, ValidationError

from modelzoo_mediswift.config.load import mistakes
from modelzoo_mediswift.config.section import (
    NonNegativeInt,
    OneOrMore,
    PathText,
    PositiveFloat,
    PositiveInt,
    Section,
    Seed,
    Text,
    expected,
    problem,
    show,
    unknown,
)
from modelzoo_mediswift.config.trainer import TrainerConfig
from modelzoo_mediswift.config.yaml_file import YamlDocument, load_yaml
from modelzoo_mediswift.errors import UserError


def _no_twins(values: tuple[float, ...]) -> tuple[float, ...]:
    if len(set(values)) < len(values):
        raise problem(f"expected each value once, got {show([*values])}")
    return values


Share = Annotated[float, Field(ge=0, lt=1), expected("a number in [0, 1)")]


class Pruning(Section):
    """Optuna's median rule, on the first seed of each configuration."""

    startup: PositiveInt = 4
    """Finished runs before any is pruned."""
    after_epochs: PositiveInt = 1
    """Epochs that every run gets."""


class SweepConfig(Section):
    """``sweep``: every batch size with every learning rate and every seed."""

    params: PathText
    """Trainer YAML with EarlyStopping and num_epochs, whose other settings stand."""
    stage: PositiveInt | None = None
    """Of a recipe, counted from 1; the stages before it have to be done."""
    checkpoint_path: PathText | None = None
    """Where every run starts, instead of `fit.ckpt_path` of `params`."""
    folder: PathText
    """Where runs, storage and results go."""
    task: Text
    """Name of the task that scores."""
    data: PathText
    """The task's files."""
    tokenizer: PathText
    """tokenizer.json."""
    metric: Text = "accuracy"
    """Of the task's scores: accuracy, macro_f1; for hoc micro_f1."""
    fold: NonNegativeInt | None = None
    """Of PubMedQA's cross-validation."""
    batch_size: Annotated[
        tuple[PositiveInt, ...], OneOrMore, Field(min_length=1), AfterValidator(_no_twins)
    ]
    """Sequences per step."""
    learning_rate: Annotated[
        tuple[PositiveFloat, ...], OneOrMore, Field(min_length=1), AfterValidator(_no_twins)
    ]
    """Peak."""
    seeds: Annotated[tuple[Seed, ...], OneOrMore, Field(min_length=1), AfterValidator(_no_twins)]
    """Of initial prompt, order of the data and dropout."""
    warmup: Share = 0.1
    """Of a run's steps."""
    final_rate: Share = 0.1
    """Of the peak, at the end of the cosine."""
    pruning: Pruning | None = Pruning()
    """null runs every configuration to its end."""


def chosen_stage(sweep: SweepConfig, stages: Sequence[TrainerConfig]) -> TrainerConfig:
    """That of the stages in `sweep.params` which the sweep varies."""
    if sweep.stage is None and len(stages) > 1:
        raise UserError(f"{sweep.params}: a recipe of {len(stages)} stages; choose one (stage)")
    if sweep.stage is not None and sweep.stage > len(stages):
        raise UserError(f"sweep.stage: {sweep.params} has {len(stages)} stages, got {sweep.stage}")
    return stages[(sweep.stage or 1) - 1]


def load_sweep(
    path: Path, *, checkpoint_path: str | None = None, folder: str | None = None
) -> SweepConfig:
    """Read and check a sweep; raises UserError with file and line. What is not None replaces what
    the file says."""
    sweep = check_sweep(load_yaml(path, "sweep"))
    given = {"checkpoint_path": checkpoint_path, "folder": folder}
    return sweep.model_copy(update={key: value for key, value in given.items() if value})


def check_sweep(document: YamlDocument) -> SweepConfig:
    """Check what a YAML document says of a sweep."""
    for key in document.data:
        where = f"{document.source}:{document.line_of((key,))}"
        if key == "trainer" and "sweep" not in document.data:
            raise UserError(
                f"{where}: a trainer's file, which run.py takes; a sweep's has the key `sweep`, "
                "as the files in params/sweeps/"
            )
        if key != "sweep":
            raise UserError(f"{where}: {unknown('key', key, ['sweep'])}")
    try:
        return SweepConfig.model_validate(document.data.get("sweep"))
    except ValidationError as error:
        raise mistakes(document, ("sweep",), error) from None
