"""Next-token cross-entropy that never holds the logits of all positions at once.

The tokens are taken in chunks. A chunk's logits give its loss and, at once, its part of both
gradients, and are forgotten: what stays for the backward pass is the size of the inputs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modelzoo_mediswift.kernels.cross_entropy import IGNORED, cross_entropy_, is_faster
from modelzoo_mediswift.kernels.dense import add_weight_gradient
from modelzoo_mediswift.model.gpt3 import GPT3

# Positions at most; their logits in fp32 are 662 MiB at 42,384 words. The output layer's gradient
# is read and written once a chunk, which for fewer positions would take as long as the products.
CHUNK = 4096
SLICE = 1 << 20  # logits, 4 MiB in fp32: what is done to them on a CPU stays in its cache
VOCABULARY_MULTIPLE = 128  # a matrix product on tensor cores wants whole tiles

States = Callable[[GPT3, Tensor], Tensor]
Chunk = Callable[..., tuple[Tensor, Tensor, Tensor | None]]


class _Parts(NamedTuple):
    """The model and a chunk of the loss, as they are called: compiled or not."""

    states: States
    chunk: Chunk


class LossModule(nn.Module):
    """A model and its loss as one module, to be compiled or spread over processes as a whole."""

    def __init__(self, model: GPT3) -> None:
        super().__init__()
        self.gpt3 = model
        # Functions, not methods: a module that refers to itself would keep a GPU's memory until
        # Python collects reference cycles.
        self._training = _Parts(_final_states, _chunk)
        self._evaluation = self._training

    def compile_parts(self, *, layers: bool = False, **options: Any) -> None:
        """One program for the model, or with `layers` one for each layer, and one for a chunk of
        the loss. None depends on how many chunks there are, and so on the size of the batch.

        Training and evaluation have programs of their own. PyTorch makes a size variable once a
        function has seen two, and evaluation's last batch may be smaller: training's sizes stay
        constants, for which better code is made. `options` are torch.compile's.
        """
        # Sizes that vary are one more program each at worst: training and evaluation, whole
        # chunks and their rest, a single sequence.
        torch._dynamo.config.cache_size_limit = 64
        if layers:
            for layer in self.gpt3.model.transformer_decoder.layers:
                layer.compile(fullgraph=True, **options)

        def compiled(states: States, chunk: Chunk) -> _Parts:
            whole = states if layers else torch.compile(states, fullgraph=True, **options)
            return _Parts(whole, torch.compile(chunk, fullgraph=True, **options))

        self._training = compiled(_final_states, _chunk)
        self._evaluation = compiled(_final_states_evaluated, _chunk_evaluated)

    def forward(
        self,
        input_ids: Tensor,
        targets: Tensor,
        positions: Tensor | None = None,
        count_right: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Sum of the cross-entropy and, if `count_right`, the number of right predictions.

        input_ids: (B, T). targets: int64 (N,), where IGNORED does not count; they belong to the
        flat `positions` (N,), or to all positions in order.
        """
        parts = self._training if torch.is_grad_enabled() else self._evaluation
        hidden = parts.states(self.gpt3, input_ids)
        if positions is not None:
            hidden = hidden.index_select(0, positions)
        device = hidden.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
        weight = self.gpt3.model.lm_head.weight
        loss, right = _ChunkedCrossEntropy.apply(
            hidden, weight, targets, dtype or weight.dtype, count_right, parts.chunk
        )
        return loss, right


def _final_states(model: GPT3, input_ids: Tensor) -> Tensor:
    return model.hidden_states(input_ids)[0].flatten(0, 1)  # (B*T, d)


def _final_states_evaluated(model: GPT3, input_ids: Tensor) -> Tensor:
    return _final_states(model, input_ids)


class _ChunkedCrossEntropy(torch.autograd.Function):
    """Cross-entropy of `hidden @ weight.T`, summed over the targets that are not IGNORED."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,  # (N, d)
        weight: Tensor,  # (V, d)
        targets: Tensor,  # (N,)
        dtype: torch.dtype,  # of the matrix products
        count_right: bool,
        chunk: Chunk,  # `_chunk`, maybe compiled
    ) -> tuple[Tensor, Tensor]:
        # Chunks of one size where that is possible: a compiler makes better code for one.
        count = max(1, math.ceil(len(hidden) / CHUNK))
        size = max(1, math.ceil(len(hidden) / count))
        parts = hidden.detach().split(size)
        n_words = len(weight)
        padding = -n_words % VOCABULARY_MULTIPLE if hidden.is_cuda else 0
        words = weight.detach().to(dtype)
        if padding:
            words = F.pad(words, (0, 0, 0, padding))  # (V + padding, d)
        trains = any(ctx.needs_input_grad)
        loss = torch.zeros((), dtype=torch.float32, device=hidden.device)
        right = torch.zeros((), dtype=torch.int64, device=hidden.device)
        weight_gradient = torch.zeros_like(words, dtype=torch.float32) if trains else None
        hidden_parts = []
        with torch.autocast(hidden.device.type, enabled=False):
            for part, target in zip(parts, targets.split(size), strict=True):
                summed, correct, gradient = chunk(
                    part, words, target, n_words, count_right, weight_gradient
                )
                loss += summed
                right += correct
                if gradient is not None:
                    hidden_parts.append(gradient)
        if weight_gradient is not None:
            ctx.save_for_backward(
                torch.cat(hidden_parts), weight_gradient[:n_words].to(weight.dtype)
            )
        return loss, right

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        hidden_gradient, weight_gradient = ctx.saved_tensors
        for_hidden, for_weight = ctx.needs_input_grad[:2]
        return (
            hidden_gradient * gradients[0] if for_hidden else None,
            weight_gradient * gradients[0] if for_weight else None,
            *(None, None, None, None),
        )


def _chunk(
    hidden: Tensor,  # (n, d)
    words: Tensor,  # (V + padding, d), of the products' type
    target: Tensor,  # (n,)
    n_words: int,
    count_right: bool,
    weight_gradient: Tensor | None,  # fp32, like words; None: no gradients are wanted
) -> tuple[Tensor, Tensor, Tensor | None]:
    """The loss of some positions, their right predictions, and the gradient by `hidden`.

    That by `words` is added to `weight_gradient`.
    """
    inputs = hidden.to(words.dtype)
    logits = inputs @ words.t()  # (n, V + padding)
    if len(words) > n_words:
        logits[:, n_words:] = -torch.inf
    on_logits = _at_once if torch.compiler.is_compiling() else _in_slices
    loss, right, gradient = on_logits(logits, target, count_right, weight_gradient is not None)
    del logits  # as large as all else together
    if weight_gradient is None or gradient is None:
        return loss, right, None
    add_weight_gradient(weight_gradient, gradient, inputs)
    return loss, right, (gradient @ words).to(hidden.dtype)


def _chunk_evaluated(*arguments: Any) -> tuple[Tensor, Tensor, Tensor | None]:
    return _chunk(*arguments)


def _at_once(
    logits: Tensor, target: Tensor, count_right: bool, trains: bool
) -> tuple[Tensor, Tensor, Tensor | None]:
    """The loss, right predictions and gradient by the logits, as a compiler merges them."""
    logits, dtype = logits.float(), logits.dtype
    counts = target != IGNORED
    index = target.clamp(min=0).unsqueeze(-1)  # (n, 1)
    log_probabilities = logits.log_softmax(-1)
    entropy = -log_probabilities.gather(-1, index).squeeze(-1)
    loss = (entropy * counts).sum()
    right = torch.zeros((), dtype=torch.int64, device=logits.device)
    if count_right:
        right = ((logits.argmax(-1) == target) & counts).sum()
    if not trains:
        return loss, right, None
    words = torch.arange(logits.shape[-1], device=index.device)
    gradient = log_probabilities.exp() - (words == index).float()
    return loss, right, (gradient * counts.unsqueeze(-1)).to(dtype)


def _in_slices(
    logits: Tensor, target: Tensor, count_right: bool, trains: bool
) -> tuple[Tensor, Tensor, Tensor | None]:
    """The same one operation after another, or all in C, and the gradient in the logits' place."""
    if trains and not count_right and is_faster(logits):
        loss = cross_entropy_(logits, target)
        return loss, torch.zeros((), dtype=torch.int64), logits
    loss = torch.zeros((), device=logits.device)
    right = torch.zeros((), dtype=torch.int64, device=logits.device)
    rows = max(1, SLICE // logits.shape[-1] if logits.device.type == "cpu" else len(logits))
    for part, words in zip(logits.split(rows), target.split(rows), strict=True):
        scores = part.float()  # (rows, V)
        counts = words != IGNORED
        index = words.clamp(min=0).unsqueeze(-1)  # (rows, 1)
        # The most likely word's probability is never too small for its logarithm.
        probabilities = scores.softmax(-1)
        log_sum = scores.amax(-1) - probabilities.amax(-1).log()
        loss += ((log_sum - scores.gather(-1, index).squeeze(-1)) * counts).sum()
        if count_right:
            right += ((scores.argmax(-1) == words) & counts).sum()
        if trains:
            probabilities.scatter_add_(-1, index, probabilities.new_full(index.shape, -1.0))
            part.copy_(probabilities.mul_(counts.unsqueeze(-1)))
    return loss, right, logits if trains else None
