"""Callbacks of fine-tuning that Model Zoo does not have; registered in ``callbacks.py``."""

from typing import Annotated, Literal

from pydantic import Field

from modelzoo_mediswift.config.section import (
    Named,
    NonNegativeFloat,
    OneOrMore,
    PathText,
    PositiveFloat,
    PositiveInt,
    Seed,
    Text,
    expected,
)


class DensifyOnLoad(Named):
    """Load a sparse checkpoint into a dense model: the masks go, and the weights that they held
    are trained again."""

    init: Annotated[
        Literal["zeros", "scaled_uniform", "scaled_normal"],
        expected("zeros, scaled_uniform or scaled_normal"),
    ] = "zeros"
    """Where the revived weights start. Zeros leave the function as it was; the others draw with
    mean zero and the standard deviation `scale` times that of the matrix's kept weights."""
    scale: PositiveFloat = 1.0
    """Of the two random ways."""
    seed: Seed | None = None
    """Of the two random ways; None for the run's."""


class TrainOnly(Named):
    """Train some parameters and leave all others as loaded, such as the soft prompt alone."""

    param_filter: Annotated[tuple[Text, ...], OneOrMore, Field(min_length=1)]
    """Globs over parameter names; `prompt_embedding.weight` is the soft prompt."""


class EarlyStopping(Named):
    """End training once the first validation set gets no better, and keep the best checkpoint."""

    monitor: Annotated[Literal["loss", "accuracy"], expected("loss or accuracy")] = "loss"
    """Of the tokens in the loss: mean loss, or the share predicted right."""
    patience: PositiveInt = 1
    """Evaluations in a row without a new best after which training ends."""
    min_delta: NonNegativeFloat = 0.0
    """A new best is better than the last by more than this."""


class PseudoLabels(Named):
    """Before the stage begins, let its start checkpoint label questions, and train on those.

    What ``mediswift label`` and ``data_preprocessing finetune pubmedqa --subset pqau`` do by hand.
    The training data's `data_dir` must be a folder `train`, which is written if it is not there.
    """

    unlabelled: PathText
    """JSON of PubMedQA's form without answers, such as ori_pqau.json."""
    tokenizer: PathText
    """The tokenizer.json that the model was trained with."""
    output: PathText
    """Folder for the labels and their confidence."""
    min_confidence: Annotated[float, Field(ge=0, lt=1), expected("a number in [0, 1)")] = 0.0
    """Questions whose label has a smaller share among the labels' likelihoods are left out."""
