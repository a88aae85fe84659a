"""What planning reads of a configuration.

Protocols, so that this package depends on nothing: ``config.trainer.TrainerConfig`` has all of
it, and so has anything else with these attributes.
"""

from collections.abc import Sequence
from typing import Protocol


class Model(Protocol):
    """Shape of a GPT-3 with an optional soft prompt."""

    @property
    def vocab_size(self) -> int: ...
    @property
    def max_position_embeddings(self) -> int: ...
    @property
    def num_virtual_tokens(self) -> int: ...
    @property
    def hidden_size(self) -> int: ...
    @property
    def num_hidden_layers(self) -> int: ...
    @property
    def num_heads(self) -> int: ...
    @property
    def filter_size(self) -> int: ...


class Schedule(Protocol):
    """A level of sparsity that changes over training."""

    def at(self, step: int, updates: int) -> float: ...

    def total(self, steps: range) -> float:
        """The sum of the values, held within [0, 1], at steps that are updates 0, 1, 2, ..."""


class Updates(Protocol):
    """The steps after which masks change; 0 is their drawing before the first step."""

    def before(self, step: int) -> Sequence[int]:
        """Those before a step, in order: a range where they come at a distance."""


class SparsityBlock(Protocol):
    """Which parameters are masked, and the fraction of zeros in each."""

    @property
    def algorithm(self) -> str: ...
    @property
    def sparsity(self) -> float | Schedule: ...
    @property
    def param_filter(self) -> tuple[str, ...] | None: ...
    @property
    def update(self) -> Updates | None: ...


class Precision(Protocol):
    @property
    def enabled(self) -> bool: ...


class Backend(Protocol):
    @property
    def compile(self) -> bool | None: ...


class Loop(Protocol):
    @property
    def num_steps(self) -> int | None: ...
    @property
    def max_steps(self) -> int | None: ...
    @property
    def num_epochs(self) -> int | None: ...
    @property
    def steps_per_epoch(self) -> int | None: ...
    @property
    def grad_accum_steps(self) -> int: ...


class Init(Protocol):
    @property
    def model(self) -> Model: ...
    @property
    def sparsity(self) -> Sequence[SparsityBlock]: ...
    @property
    def precision(self) -> Precision | None: ...
    @property
    def backend(self) -> Backend: ...
    @property
    def loop(self) -> Loop: ...
    @property
    def micro_batch_size(self) -> int | None: ...
    @property
    def warmup_steps(self) -> int: ...
    @property
    def schedule_steps(self) -> int | None: ...


class DataLoader(Protocol):
    @property
    def batch_size(self) -> int: ...
    @property
    def max_sequence_length(self) -> int | None: ...


class Fit(Protocol):
    @property
    def train_dataloader(self) -> DataLoader: ...


class Config(Protocol):
    @property
    def init(self) -> Init: ...
    @property
    def fit(self) -> Fit | None: ...
