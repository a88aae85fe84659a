"""Values of ``trainer.init.sparsity`` that change over training, and the steps of changes."""

import math
from abc import abstractmethod
from bisect import bisect_left
from collections.abc import Mapping, Sequence
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

    @abstractmethod
    def total(self, steps: range) -> float:
        """The sum of the values, held within [0, 1], at steps that are updates 0, 1, 2, ...

        In closed form: to a relative 1e-9, however many steps there are.
        """


class Constant(Schedule):
    """The same value at every step."""

    type: Literal["constant"]
    """The formula's name."""
    value: Fraction
    """The value."""

    def at(self, step: int, updates: int) -> float:
        return self.value

    def total(self, steps: range) -> float:
        return self.value * len(steps)


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

    def total(self, steps: range) -> float:
        if self.slope < 0:  # read from the other end, it rises
            steps = steps[::-1]
        low = bisect_left(steps, 0.0, key=self._value)
        high = bisect_left(steps, 1.0, key=self._value)
        between = steps[low:high]
        ends = self._value(between[0]) + self._value(between[-1]) if between else 0.0
        return len(between) * ends / 2 + len(steps) - high

    def _value(self, step: int) -> float:
        return self.at(step, 0)


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

    def total(self, steps: range) -> float:
        decay = _geometric(steps, self.gamma)
        return self.final * len(steps) + (self.init - self.final) * decay


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

    def total(self, steps: range) -> float:
        if self.init < 1e-300:  # stays nothing, or grows beyond a float
            return 0.0
        rate = math.log(self.beta)
        full = len(steps)
        if rate > 0:
            full = bisect_left(steps, 1.0, key=lambda step: self.at(step, 0))
        return self.init * _geometric(steps[:full], rate) + len(steps) - full


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

    def total(self, steps: range) -> float:
        count, middle = len(steps), (self.minimum + self.init) / 2
        # Cosines of equidistant angles: the one in the middle times Dirichlet's kernel.
        half = math.remainder(steps.step * math.pi / self.half_period, 2 * math.pi) / 2
        kernel = math.sin(count * half) / math.sin(half) if half else count
        first = steps.start * math.pi / self.half_period
        waves = kernel * math.cos(first + (count - 1) * half)
        return middle * count + (self.init - middle) * waves


class Cycling(Schedule):
    """The next value at each change of the masks, over and over."""

    type: Literal["cycling"]
    """The formula's name."""
    values: Annotated[tuple[Fraction, ...], ListOnly, Field(min_length=1)]
    """The values, the first of them for the initial masks."""

    def at(self, step: int, updates: int) -> float:
        return self.values[updates % len(self.values)]

    def total(self, steps: range) -> float:
        cycles, rest = divmod(len(steps), len(self.values))
        return cycles * sum(self.values) + sum(self.values[:rest])


def _geometric(steps: range, rate: float) -> float:
    """The sum of e^(rate * step)."""
    if not steps or not rate:
        return float(len(steps))
    ratio = rate * steps.step
    terms = math.expm1(len(steps) * ratio) / math.expm1(ratio)
    return math.exp(rate * steps.start) * terms


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

    def before(self, step: int) -> Sequence[int]:
        """The changes before a step (at 0: the drawing of the masks)."""
        end = step if self.stop is None else min(step, self.stop)
        return range(self.start, max(end, self.start), self.freq)


class AtSteps(Section):
    """A list of steps."""

    steps: Annotated[tuple[NonNegativeInt, ...], ListOnly, Field(min_length=1)]
    """The steps. Unless 0 is one of them, training is dense until the first."""

    def before(self, step: int) -> Sequence[int]:
        """The changes before a step (at 0: the drawing of the masks)."""
        return sorted({own for own in self.steps if own < step})


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
