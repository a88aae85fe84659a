"""``trainer.init.optimizer`` and ``trainer.init.schedulers``."""

from collections.abc import Mapping
from itertools import accumulate
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainValidator,
    ValidationInfo,
    field_validator,
    model_validator,
)

from modelzoo_mediswift.config import modelzoo_keys
from modelzoo_mediswift.config.modelzoo_keys import Refused
from modelzoo_mediswift.config.section import (
    ListOnly,
    Named,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    Probability,
    Problem,
    expected,
    named,
    only,
    problem,
    raise_problems,
)


class AdamW(Named):
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2017)."""

    refused: ClassVar[Mapping[str, Refused]] = modelzoo_keys.ADAMW
    synonyms: ClassVar[frozenset[str]] = frozenset({"learning_rate"})

    learning_rate: Annotated[NonNegativeFloat | None, Field(alias="lr")] = None
    """Per step, where there are no schedulers. Written `lr` or `learning_rate`."""
    betas: Annotated[
        tuple[Probability, Probability], ListOnly, expected("two numbers in [0, 1)")
    ] = (0.9, 0.999)
    """Decay rates of the first and second moments."""
    eps: PositiveFloat = 1e-6
    """Added to the root of the second moment."""
    weight_decay: NonNegativeFloat = 0.0
    """Decay per step and unit of learning rate; matrices only."""
    correct_bias: Annotated[
        Literal[True],
        BeforeValidator(only(True, "AdamW without bias correction is not supported here", {})),
    ] = True
    """Moments are divided by 1 - beta^step."""

    @model_validator(mode="before")
    @classmethod
    def _one_name_for_lr(cls, data: Any) -> Any:
        if isinstance(data, Mapping) and "lr" in data and "learning_rate" in data:
            text = "lr and learning_rate are two names of one thing; write one"
            raise_problems("AdamW", [Problem(("learning_rate",), text)])
        return data


Optimizer = Annotated[AdamW, PlainValidator(named((AdamW,), "optimizer", modelzoo_keys.OPTIMIZERS))]


class LinearLR(Named):
    """A straight line from one learning rate to the other, then constant."""

    refused: ClassVar[Mapping[str, Refused]] = modelzoo_keys.SCHEDULE

    initial_learning_rate: NonNegativeFloat
    """At the first step."""
    end_learning_rate: NonNegativeFloat
    """After total_iters steps."""
    total_iters: PositiveInt
    """Length in optimizer steps."""


class CosineDecayLR(Named):
    """Half a cosine wave from one learning rate down to the other, then constant."""

    refused: ClassVar[Mapping[str, Refused]] = modelzoo_keys.SCHEDULE

    initial_learning_rate: NonNegativeFloat
    """At the first step."""
    end_learning_rate: NonNegativeFloat
    """After total_iters steps."""
    total_iters: PositiveInt
    """Length in optimizer steps."""


class ConstantLR(Named):
    """One learning rate throughout."""

    refused: ClassVar[Mapping[str, Refused]] = modelzoo_keys.SCHEDULE

    learning_rate: NonNegativeFloat
    """At every step."""
    total_iters: PositiveInt | None = None
    """Length in optimizer steps; needed where another schedule follows."""


SimpleScheduler = LinearLR | CosineDecayLR | ConstantLR

_Simple = Annotated[
    SimpleScheduler,
    PlainValidator(
        named(
            (LinearLR, CosineDecayLR, ConstantLR),
            "scheduler",
            {**modelzoo_keys.SCHEDULERS, "SequentialLR": "SequentialLR stands outside the others"},
        )
    ),
]


class SequentialLR(Named):
    """Several schedules, one after the other; each starts counting where it begins."""

    refused: ClassVar[Mapping[str, Refused]] = modelzoo_keys.SCHEDULE

    schedulers: Annotated[tuple[_Simple, ...], ListOnly, Field(min_length=1)]
    """In order."""
    milestones: Annotated[tuple[PositiveInt, ...] | None, ListOnly] = None
    """Steps at which the second and later schedules begin. They follow from total_iters; a file
    that gives them has to agree."""

    @field_validator("milestones")
    @classmethod
    def _agree(cls, given: tuple[int, ...] | None, info: ValidationInfo) -> Any:
        if "schedulers" not in info.data:
            return given
        lengths = [scheduler.total_iters for scheduler in info.data["schedulers"][:-1]]
        if None in lengths:
            raise problem("every schedule before the last needs total_iters")
        computed = tuple(accumulate(lengths))
        if given is not None and given != computed:
            raise problem(f"expected {[*computed]}, the sums of total_iters; got {[*given]}")
        return computed

    @property
    def total_iters(self) -> int | None:
        """Length in optimizer steps; None where the last schedule has no end."""
        last = self.schedulers[-1].total_iters
        before = self.milestones[-1] if self.milestones else 0
        return None if last is None else before + last


Scheduler = SequentialLR | SimpleScheduler

_Scheduler = Annotated[
    Scheduler,
    PlainValidator(
        named(
            (SequentialLR, LinearLR, CosineDecayLR, ConstantLR),
            "scheduler",
            modelzoo_keys.SCHEDULERS,
        )
    ),
]


def _at_most_one(schedulers: tuple[Scheduler, ...]) -> tuple[Scheduler, ...]:
    if len(schedulers) > 1:
        raise problem(
            f"expected one schedule of the learning rate, got {len(schedulers)}; "
            "write SequentialLR to have one follow another"
        )
    return schedulers


Schedulers = Annotated[tuple[_Scheduler, ...], ListOnly, AfterValidator(_at_most_one)]
"""None or one: Model Zoo's list can hold more, for weight decay and for parameter groups."""
