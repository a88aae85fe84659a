"""Linear layers that hold the values of their non-zeros alone, on a CPU.

Compressed, a weight is a vector of values: so are then its gradient and both its moments, and
nothing is computed for the zeros. Names stay, and what is saved is dense: a checkpoint does not
show how it was computed. The parameter object stays too, so that an optimizer need not know.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modelzoo_mediswift.errors import UserError
from modelzoo_mediswift.kernels.choice import FastestChoice
from modelzoo_mediswift.kernels.functions import (
    pack_tokens,
    result_dtype,
    sparse_linear,
    sparse_linear_packed,
    unpack_tokens,
)
from modelzoo_mediswift.kernels.library import load_library
from modelzoo_mediswift.kernels.pattern import Pattern
from modelzoo_mediswift.model.gpt3 import GPT3, Attention, FeedForward, Linear
from modelzoo_mediswift.optim.adamw import AdamW
from modelzoo_mediswift.sparsity.masking import Masking, SparseParameter
from modelzoo_mediswift.sparsity.static import Static

MOMENTS = (".exp_avg", ".exp_avg_sq")
SHORT = 8  # steps between two changes of a mask that are not worth making lists for


class SparseLinear(Linear):
    """A linear layer that may be compressed: then `weight` holds the pattern's values."""

    pattern: Pattern | None = None

    def compress(self, mask: Tensor) -> None:
        """Keep the values where the mask is True."""
        self.pattern = Pattern(mask)
        self.weight.data = self.pattern.compress(self.weight)

    def expand(self) -> None:
        """Back to a matrix with zeros."""
        assert self.pattern is not None
        self.weight.data = self.pattern.expand(self.weight)
        self.pattern = None

    def forward(self, x: Tensor) -> Tensor:
        if self.pattern is None:
            return super().forward(x)
        return sparse_linear(x, self.weight, self.bias, self.pattern)

    def on_tiles(self, packed: Tensor) -> Tensor:
        assert self.pattern is not None
        return sparse_linear_packed(packed, self.weight, self.bias, self.pattern)


class SparseAttention(Attention):
    """Brings the input of all three projections into tiles once."""

    def projections(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        layers = compressed(
            self.proj_q_dense_layer, self.proj_k_dense_layer, self.proj_v_dense_layer
        )
        if layers is None:
            return super().projections(x)
        packed, dtype = pack_tokens(x), result_dtype(x)
        q, k, v = (unpack_tokens(layer.on_tiles(packed), x.shape, dtype) for layer in layers)
        return q, k, v


class SparseFeedForward(FeedForward):
    """Leaves what is between its two layers in tiles: GELU does not mind."""

    def forward(self, x: Tensor) -> Tensor:
        layers = compressed(*(layer.linear_layer for layer in self.ffn))
        if layers is None:
            return super().forward(x)
        first, second = layers
        hidden = F.gelu(first.on_tiles(pack_tokens(x)))
        return unpack_tokens(second.on_tiles(hidden), x.shape, result_dtype(x))


_SPARSE_CLASSES: dict[type[nn.Module], type[nn.Module]] = {
    Linear: SparseLinear,
    Attention: SparseAttention,
    FeedForward: SparseFeedForward,
}


def compressed(*layers: Any) -> list[SparseLinear] | None:
    """The layers if all of them are compressed."""
    found = [x for x in layers if isinstance(x, SparseLinear) and x.pattern is not None]
    return found if len(found) == len(layers) else None


def prepare_model(model: GPT3) -> None:
    """Let the decoder's linear layers be compressed; nothing else about the model changes."""
    for module in model.model.transformer_decoder.modules():
        module.__class__ = _SPARSE_CLASSES.get(type(module), type(module))


def make_sparse_layers(
    model: GPT3,
    masking: Masking | None,
    optimizer: AdamW,
    device: torch.device,
    *,
    every_layer: bool,
    tokens: int,
    autocast: torch.dtype | None,
    alone: bool = True,
) -> SparseLayers | None:
    """The compressed layers that a run asks for; None, after a message, where it cannot have them.

    With `every_layer` nothing is measured; else what is faster for `tokens` at a time is taken.
    The model must be `alone`: neither compiled nor spread over processes.
    """
    problem = None
    if masking is None:
        problem = "nothing is sparse"
    elif device.type != "cpu":
        problem = f"they are for a CPU, not for {device.type}"
    elif not alone:
        problem = "they are for one process and a model that is not compiled"
    else:
        try:
            load_library()
        except UserError as error:
            problem = str(error)
    if problem is not None or masking is None:
        print(f"SparseKernels: not used: {problem}; training is masked-dense", file=sys.stderr)
        return None
    choose = always if every_layer else FastestChoice(tokens, autocast)
    return SparseLayers(model, masking.parameters, choose, optimizer)


def always(shape: tuple[int, int], density: float) -> bool:
    return True


Choose = Callable[[tuple[int, int], float], bool]
"""Whether to compress a matrix of a shape at a density."""


@dataclass
class SparseLayers:
    """Compresses the masked linear layers of a model where `choose` says so, and keeps the
    optimizer's moments in step.

    A mask changes while its weight is dense: the step that ends with the change is computed as it
    is without kernels, as RigL needs for its gradients anyway, and the next one has new lists.
    """

    model: GPT3
    parameters: Iterable[SparseParameter]
    choose: Choose
    optimizer: AdamW | None = None
    _layers: dict[str, SparseParameter] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        prepare_model(self.model)
        self._layers = {
            p.name: p
            for p in self.parameters
            if isinstance(p.module, SparseLinear) and p.attribute == "weight"
        }

    @property
    def choices(self) -> Tensor | None:
        """What was measured, to be kept with the run's state."""
        return self.choose.state() if isinstance(self.choose, FastestChoice) else None

    @choices.setter
    def choices(self, state: Tensor) -> None:
        if isinstance(self.choose, FastestChoice):
            self.choose.load_state(state)

    def before_step(self, step: int) -> None:
        """Compress what can be in optimizer step number `step`, expand what cannot."""
        algorithms = {id(p.algorithm): p.algorithm for p in self._layers.values()}
        dense = {key for key, algorithm in algorithms.items() if _is_dense_at(algorithm, step)}
        for p in self._layers.values():
            if id(p.algorithm) in dense:
                self._expand(p)
            else:
                self._compress(p)

    def before_evaluation(self) -> None:
        """Compress everything: evaluations change no masks."""
        for p in self._layers.values():
            self._compress(p)

    def expand(self) -> None:
        """Make all weights and moments dense, as loading needs them."""
        for p in self._layers.values():
            self._expand(p)

    def dense(self, name: str, tensor: Tensor) -> Tensor:
        """A tensor of the model or, as `<parameter>.exp_avg`, of the optimizer as a matrix."""
        for moment in MOMENTS:
            name = name.removesuffix(moment)
        layer = self._layers.get(name)
        if layer is None or tensor.dim() != 1:
            return tensor
        pattern = _linear(layer).pattern
        assert pattern is not None
        return pattern.expand(tensor)

    def _compress(self, p: SparseParameter) -> None:
        layer = _linear(p)
        if layer.pattern is not None or layer.weight.grad is not None:
            return
        rows, cols = layer.weight.shape
        if not self.choose((rows, cols), int(p.mask.count_nonzero()) / p.mask.numel()):
            return
        layer.compress(p.mask)
        if self.optimizer is not None:
            assert layer.pattern is not None
            self.optimizer.change_moments(p.weight, layer.pattern.compress)

    def _expand(self, p: SparseParameter) -> None:
        layer = _linear(p)
        if layer.pattern is None:
            return
        if self.optimizer is not None:
            self.optimizer.change_moments(p.weight, layer.pattern.expand)
        layer.expand()


def _linear(p: SparseParameter) -> SparseLinear:
    assert isinstance(p.module, SparseLinear)
    return p.module


def _is_dense_at(algorithm: Static, step: int) -> bool:
    """Whether the mask changes after this step, or has changed and will again soon.

    A function of the step alone, so that a run that is continued computes as it would have.
    """
    if algorithm.changes_at(step):
        return True
    before = (n for n in range(1, SHORT) if algorithm.changes_at(step - n))
    after = (n for n in range(1, SHORT) if algorithm.changes_at(step + n))
    return next(before, SHORT) + next(after, SHORT) < SHORT
