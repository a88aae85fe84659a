"""Values of ``trainer.init.sparsity`` that change over training, and the steps of changes."""

import math
from abc import abstractmethod
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from modelzoo_mediswift.config.section import (
    ListOnly,
    NonNegativeInt,
    Number,
    PositiveInt,
    Section,
    expected,
    problem,
    show,
    unknown,
)

Fraction = Annotated[float, Field(ge=0, le=1), expected("a number in [0, 1]")]


class Schedule(Section):
    """A value for each step; ``type`` names the formula. Step 0 is before training."""

    @abstractmethod
    def at(self, step: int, updates: int) -> float:
        """The value at a step before which masks were drawn or changed ``updates`` times.

        In double precision, for planning; a run computes in single precision, as cstorch does.
        """


class Constant(Schedule):
    """The same value at every step."""

    type: Literal["constant"]
    """The formula's name."""
    value: Fraction
    """The value."""

    def at(self, step: int, updates: int) -> float:
        return self.value


class Linear(Schedule):
    """init + step * slope."""

    type: Literal["linear"]
    """The formula's name."""
    init: Fraction
    """The value at step 0."""
    slope: Number
    """Change per step."""

    def at(self, step: int, updates: int) -> float:
        return self.init + step * self.slope


class Exp(Schedule):
    """final + (init - final) * e^(step * gamma)."""

    type: Literal["exp"]
    """The formula's name."""
    init: Fraction
    """The value at step 0."""
    gamma: Annotated[float, Field(le=0), expected("a number <= 0")]
    """Rate per step; negative, so that the value approaches `final`."""
    final: Fraction = 1.0
    """The value approached."""

    def at(self, step: int, updates: int) -> float:
        return self.final + (self.init - self.final) * math.exp(step * self.gamma)


class Power(Schedule):
    """init * beta^step."""

    type: Literal["power"]
    """The formula's name."""
    init: Fraction
    """The value at step 0."""
    beta: Annotated[float, Field(gt=0), expected("a number > 0")]
    """Factor per step."""

    def at(self, step: int, updates: int) -> float:
        return self.init * math.exp(min(step * math.log(self.beta), 700.0))  # not beyond a float


class Cosine(Schedule):
    """Half a cosine from `init` to `minimum`, and back, and so on."""

    type: Literal["cosine"]
    """The formula's name."""
    init: Fraction
    """The value at step 0."""
    half_period: Annotated[float, Field(gt=0), expected("a number of steps > 0")]
    """Steps from `init` to `minimum`."""
    minimum: Fraction = 0.0
    """The value half a period later."""

    def at(self, step: int, updates: int) -> float:
        middle = (self.minimum + self.init) / 2
        return (self.init - middle) * math.cos(step * math.pi / self.half_period) + middle


class Cycling(Schedule):
    """The next value at each change of the masks, over and over."""

    type: Literal["cycling"]
    """The formula's name."""
    values: Annotated[tuple[Fraction, ...], ListOnly, Field(min_length=1)]
    """The values, the first of them for the initial masks."""

    def at(self, step: int, updates: int) -> float:
        return self.values[updates % len(self.values)]


SCHEDULES: Mapping[str, type[Schedule]] = {
    "constant": Constant,
    "linear": Linear,
    "exp": Exp,
    "power": Power,
    "cosine": Cosine,
    "cycling": Cycling,
}


def read_schedule(value: object) -> object:
    """A mapping with ``type`` as its schedule, and a list as the values of a cycle."""
    if isinstance(value, list):
        return Cycling.model_validate({"type": "cycling", "values": value})
    if not isinstance(value, Mapping):
        return value
    kind = value.get("type")
    if not isinstance(kind, str):
        known = ", ".join(SCHEDULES)
        raise problem(f"expected a schedule with `type`, one of {known}, got {show(kind)}")
    if kind.lower() not in SCHEDULES:
        raise problem(unknown("type", kind, list(SCHEDULES)))
    return SCHEDULES[kind.lower()].model_validate({**value, "type": kind.lower()})


class EveryFreq(Section):
    """start, start + freq, start + 2 freq, ... below stop."""

    freq: PositiveInt
    """Steps from one change to the next."""
    start: NonNegativeInt = 0
    """The first. Unless it is 0, training is dense until then."""
    stop: PositiveInt | None = None
    """The step from which on masks stay; None for never."""

    def has(self, step: int) -> bool:
        """Whether masks change after this step (at 0: are drawn before the first)."""
        ended = self.stop is not None and step >= self.stop
        return step >= self.start and not ended and (step - self.start) % self.freq == 0


class AtSteps(Section):
    """A list of steps."""

    steps: Annotated[tuple[NonNegativeInt, ...], ListOnly, Field(min_length=1)]
    """The steps. Unless 0 is one of them, training is dense until the first."""

    def has(self, step: int) -> bool:
        """Whether masks change after this step (at 0: are drawn before the first)."""
        return step in self.steps


def read_update(value: object) -> object:
    """``{freq, start, stop}`` or ``{steps: [...]}``."""
    if not isinstance(value, Mapping):
        return value
    keys = set(value)
    if "steps" in keys and keys <= {"steps"}:
        return AtSteps.model_validate(value)
    if "freq" in keys and "steps" not in keys:
        return EveryFreq.model_validate(value)
    for key in keys - {"freq", "start", "stop", "steps"}:
        raise problem(unknown("key", key, ["freq", "start", "stop", "steps"]))
    raise problem("expected {freq, start, stop}, of which freq is required, or {steps: [...]}")
