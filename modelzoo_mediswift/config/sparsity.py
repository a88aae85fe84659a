"""``trainer.init.sparsity``: which weights are masked, how masks are drawn and how they change."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, PlainValidator, ValidationInfo, model_validator

from modelzoo_mediswift.config import modelzoo_keys
from modelzoo_mediswift.config.modelzoo_keys import Refused
from modelzoo_mediswift.config.section import (
    OneOrMore,
    PositiveInt,
    Problem,
    Section,
    Text,
    mappings,
    problem,
    raise_problems,
    show,
    unknown,
)
from modelzoo_mediswift.config.sparsity_schedule import (
    AtSteps,
    Constant,
    EveryFreq,
    Schedule,
    read_schedule,
    read_update,
)

# Algorithm -> the keys that only it, and others that list them, know.
ALGORITHMS: Mapping[str, tuple[str, ...]] = {
    "static": (),
    "gmp": ("update",),
    "set": ("update", "drop_fraction"),
    "rigl": ("update", "drop_fraction", "balance_in_groups", "balance_out_groups"),
}
DROP_FRACTION = 0.3  # cstorch's default


def _algorithm(value: object) -> object:
    if not isinstance(value, str):
        raise problem(f"expected the name of an algorithm, got {show(value)}")
    name = value.lower()
    if name in modelzoo_keys.ALGORITHMS:
        raise problem(modelzoo_keys.ALGORITHMS[name])
    if name not in ALGORITHMS:
        raise problem(unknown("algorithm", value, list(ALGORITHMS)))
    return name


def _level(value: object, info: ValidationInfo) -> object:
    """A fraction, or for dynamic algorithms a schedule; Model Zoo refuses integers."""
    if isinstance(value, int) and not isinstance(value, bool):
        hint = f"; write {float(value)}" if value == 0 else ""
        raise problem(f"expected a number in [0, 1) with a decimal point, got {value}{hint}")
    algorithm = info.data.get("algorithm")
    if isinstance(value, Mapping | list | Schedule):
        if algorithm == "static":
            raise problem(
                "expected a number in [0, 1), got a schedule; static sparsity is constant"
            )
        value = read_schedule(value)
    elif not isinstance(value, float) or not 0 <= value < 1:
        raise problem(f"expected a number in [0, 1), got {show(value)}")
    if algorithm == "gmp" and isinstance(value, float | Constant):
        raise problem(
            "expected a schedule or a list, since gmp at a constant level never changes its "
            "masks; for that, write algorithm: static"
        )
    return value


def _drop_fraction(value: object) -> object:
    if value is None or isinstance(value, Mapping | list | Schedule):
        return read_schedule(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise problem(f"expected a number in [0, 1] or a schedule, got {show(value)}")
    return float(value)


def _update(value: object) -> object:
    if value is None or isinstance(value, EveryFreq | AtSteps):
        return value
    if not isinstance(value, Mapping):
        raise problem(f"expected {{freq, start, stop}} or {{steps: [...]}}, got {show(value)}")
    return read_update(value)


def _init_method(value: object) -> object:
    known = ["random", "topk", "from_zeros", "checkerboard"]
    if not isinstance(value, str):
        raise problem(f"expected one of {', '.join(known)}, got {show(value)}")
    if value not in known:
        raise problem(unknown("init_method", value, known))
    return value


class SparsityConfig(Section):
    """One block: some parameters, the level of their masks, and how the masks change."""

    refused: ClassVar[Mapping[str, Refused]] = modelzoo_keys.SPARSITY

    algorithm: Annotated[Literal["static", "gmp", "set", "rigl"], BeforeValidator(_algorithm)] = (
        "static"
    )
    """How masks change in training: not at all; gradual magnitude pruning; sparse evolutionary
    training (drop small weights, grow random ones); RigL (grow where gradients are large)."""
    sparsity: Annotated[float | Schedule, PlainValidator(_level)]
    """Fraction of zeros in every matched parameter; int((1 - sparsity) * numel) weights stay.
    For dynamic algorithms also a schedule, or a list of levels to cycle through."""
    init_method: Annotated[
        Literal["random", "topk", "from_zeros", "checkerboard"], BeforeValidator(_init_method)
    ] = "random"
    """Which weights stay: random ones, the largest, those that are not zero (whatever
    `sparsity` says), or a regular pattern."""
    param_filter: Annotated[tuple[Text, ...], OneOrMore, Field(min_length=1)] | None = None
    """Globs over parameter names; of several blocks the first that matches has the parameter.
    None: every parameter of two or more dimensions, except embeddings, norms and lm_head."""
    update: Annotated[EveryFreq | AtSteps | None, PlainValidator(_update)] = None
    """The steps after which masks change; None for every step (gmp, set, rigl)."""
    drop_fraction: Annotated[float | Schedule | None, PlainValidator(_drop_fraction)] = None
    """Fraction of the kept weights to exchange at a change; None for 0.3 (set, rigl)."""
    balance_in_groups: PositiveInt | None = None
    """Groups of inputs that keep equally many weights each (rigl)."""
    balance_out_groups: PositiveInt | None = None
    """The same for outputs, such as the heads of a projection (rigl)."""

    @model_validator(mode="after")
    def _keys_of_the_algorithm(self) -> Self:
        known = ALGORITHMS[self.algorithm]
        problems = []
        for key in ALGORITHMS["rigl"]:
            if getattr(self, key) is not None and key not in known:
                owners = ", ".join(name for name, keys in ALGORITHMS.items() if key in keys)
                text = f"means nothing for algorithm: {self.algorithm} (for: {owners})"
                problems.append(Problem((key,), text))
        if self.balance_in_groups and self.balance_out_groups:
            text = "excludes balance_in_groups; write one of them"
            problems.append(Problem(("balance_out_groups",), text))
        if problems:
            raise_problems("sparsity", problems)
        return self


def _blocks(value: object) -> object:
    """A lone level is a block."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = {"sparsity": value}
    return mappings(value, "a number, a mapping or a list of mappings")


Sparsity = Annotated[tuple[SparsityConfig, ...], BeforeValidator(_blocks)]
"""Blocks in the order in which they are tried; none for a dense model."""
