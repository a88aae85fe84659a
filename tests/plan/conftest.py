from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest


@dataclass(frozen=True)
class TinyModel:
    """A GPT-3 small enough to count on paper."""

    vocab_size: int = 10
    max_position_embeddings: int = 5
    num_virtual_tokens: int = 0
    hidden_size: int = 4
    num_hidden_layers: int = 2
    num_heads: int = 2
    filter_size: int = 16


@dataclass(frozen=True)
class Block:
    sparsity: Any
    param_filter: tuple[str, ...] | None = None
    algorithm: str = "static"
    update: Any = None


@dataclass(frozen=True)
class Loop:
    num_steps: int | None = None
    max_steps: int | None = None
    num_epochs: int | None = None
    steps_per_epoch: int | None = None
    grad_accum_steps: int = 1


@dataclass(frozen=True)
class Precision:
    enabled: bool


@dataclass(frozen=True)
class Backend:
    compile: bool | None = None


@dataclass(frozen=True)
class Init:
    model: TinyModel = TinyModel()
    sparsity: tuple[Block, ...] = ()
    precision: Precision | None = None
    backend: Backend = Backend()
    loop: Loop = field(default_factory=Loop)
    micro_batch_size: int | None = None
    warmup_steps: int = 0
    schedule_steps: int | None = None


@dataclass(frozen=True)
class Loader:
    batch_size: int = 3
    max_sequence_length: int | None = None


@dataclass(frozen=True)
class Fit:
    train_dataloader: Loader = Loader()


@dataclass(frozen=True)
class TinyConfig:
    """What planning reads of a configuration."""

    init: Init = Init()
    fit: Fit | None = Fit()


@pytest.fixture
def model() -> Callable[..., TinyModel]:
    return lambda **changes: replace(TinyModel(), **changes)


@pytest.fixture
def block() -> type[Block]:
    return Block


@pytest.fixture
def config() -> Callable[..., TinyConfig]:
    """A configuration: sections of trainer.init by name, and `fit`."""

    def make(fit: Any = "default", **init: Any) -> TinyConfig:
        loop = Loop(**init.pop("loop", {}))
        if isinstance(init.get("precision"), bool):
            init["precision"] = Precision(init["precision"])
        if "compile" in init:
            init["backend"] = Backend(init.pop("compile"))
        loader = Fit(Loader(**fit)) if isinstance(fit, dict) else fit
        if loader == "default":
            loader = Fit()
        return TinyConfig(Init(loop=loop, **init), loader)

    return make
