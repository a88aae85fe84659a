"""``trainer.init.sparsity``: which weights are masked, and how the mask is drawn."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field

from modelzoo_mediswift.config import modelzoo_keys
from modelzoo_mediswift.config.modelzoo_keys import Refused
from modelzoo_mediswift.config.section import OneOrMore, Section, Text, problem, show, unknown


def _algorithm(value: object) -> object:
    if not isinstance(value, str):
        raise problem(f"expected the name of an algorithm, got {show(value)}")
    name = value.lower()
    if name in modelzoo_keys.ALGORITHMS:
        raise problem(f"{modelzoo_keys.ALGORITHMS[name]}; supported: static")
    if name != "static":
        raise problem(unknown("algorithm", value, ["static"]))
    return name


def _level(value: object) -> object:
    """A fraction; Model Zoo refuses integers and takes a schedule for dynamic algorithms."""
    if isinstance(value, int) and not isinstance(value, bool):
        hint = f"; write {float(value)}" if value == 0 else ""
        raise problem(f"expected a number in [0, 1) with a decimal point, got {value}{hint}")
    if isinstance(value, Mapping | list):
        raise problem("expected a number in [0, 1), got a schedule; static sparsity is constant")
    if not isinstance(value, float) or not 0 <= value < 1:
        raise problem(f"expected a number in [0, 1), got {show(value)}")
    return value


def _init_method(value: object) -> object:
    known = ["random", "topk", "from_zeros", "checkerboard"]
    if not isinstance(value, str):
        raise problem(f"expected one of {', '.join(known)}, got {show(value)}")
    if value not in known:
        raise problem(unknown("init_method", value, known))
    return value


class SparsityConfig(Section):
    """One block: its masks are fixed when training starts and never change."""

    refused: ClassVar[Mapping[str, Refused]] = modelzoo_keys.SPARSITY

    algorithm: Annotated[Literal["static"], BeforeValidator(_algorithm)] = "static"
    """How the mask changes in training: not at all."""
    sparsity: Annotated[float, BeforeValidator(_level)]
    """Fraction of zeros in every matched parameter; int((1 - sparsity) * numel) weights stay."""
    init_method: Annotated[
        Literal["random", "topk", "from_zeros", "checkerboard"], BeforeValidator(_init_method)
    ] = "random"
    """Which weights stay: random ones, the largest, those that are not zero (whatever
    `sparsity` says), or a regular pattern."""
    param_filter: Annotated[tuple[Text, ...], OneOrMore, Field(min_length=1)] | None = None
    """Globs over parameter names; of several blocks the first that matches has the parameter.
    None: every parameter of two or more dimensions, except embeddings, norms and lm_head."""


def _blocks(value: object) -> object:
    """A lone level or a lone block is a list of one; null is no sparsity."""
    if value is None:
        return ()
    if isinstance(value, list | tuple):
        return tuple(value)
    if isinstance(value, Mapping):
        return (value,)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return ({"sparsity": value},)
    raise problem(f"expected a number, a mapping or a list of mappings, got {show(value)}")


Sparsity = Annotated[tuple[SparsityConfig, ...], BeforeValidator(_blocks)]
"""Blocks in the order in which they are tried; none for a dense model."""
