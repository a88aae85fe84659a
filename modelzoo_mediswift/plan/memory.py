"""Bytes that training takes on a CPU or GPU, and bytes of a checkpoint.

Weights, gradients and Adam's two moments are float32, a mask is one byte per weight. The
activations are those that the backward pass needs, for attention that does not store its
scores. What an allocator or a library adds is not in it. `compiled`: the step is made by
torch.compile, as on a GPU by default, which keeps fewer copies.
"""

from dataclasses import dataclass, replace

from modelzoo_mediswift.plan.inputs import Model
from modelzoo_mediswift.plan.parameters import ParameterCounts

_FLOAT = 4
_HALF = 2
_MASK = 1
_TOKEN = 8
# Positions whose logits exist at once, as in model/loss.py.
LOSS_CHUNK = 4096


@dataclass(frozen=True)
class Memory:
    """Bytes, by what they hold."""

    weights: int
    gradients: int
    """With the copies that RigL makes in the steps before its changes."""
    earlier_gradients: int
    """Those of earlier micro-batches, which are there while another one is computed."""
    optimizer: int
    """Adam's two moments."""
    masks: int
    half_weights: int
    """The copies of the matrices that mixed precision multiplies."""
    activations: int
    """What the backward pass of one micro-batch needs."""
    activations_per_sequence: int
    """The same for a single sequence; part of ``activations``."""
    loss: int
    """Logits of one chunk of positions, and the output layer's gradient from all chunks."""

    @property
    def total(self) -> int:
        """At the peak: before a backward pass, or, where activations are few, after it."""
        before = self.earlier_gradients + self.half_weights + self.activations + self.loss
        return self.weights + self.optimizer + self.masks + max(before, self.gradients)

    def of(self, sequences: int, *, accumulates: bool) -> "Memory":
        """The same for micro-batches of so many sequences, the only one of a step or not."""
        return replace(
            self,
            activations=sequences * self.activations_per_sequence,
            earlier_gradients=self.weights if accumulates else 0,  # without RigL's copies
        )


def training_memory(
    model: Model,
    counts: ParameterCounts,
    *,
    sequences: int,
    sequence_length: int,
    mixed: bool,
    compiled: bool = False,
    accumulates: bool = True,
) -> Memory:
    """Memory of one step with micro-batches of ``sequences`` x ``sequence_length`` tokens.

    ``accumulates``: a step has more than one of them.
    """
    per_token = saved_bytes_per_token(model, mixed=mixed, compiled=compiled)
    tokens = sequences * sequence_length
    matrices = counts.paper + model.vocab_size * model.hidden_size
    return Memory(
        weights=_FLOAT * counts.total,
        gradients=_FLOAT * (counts.total + counts.kept_gradients),
        earlier_gradients=_FLOAT * counts.total if accumulates else 0,
        optimizer=2 * _FLOAT * counts.total,
        masks=_MASK * counts.masked_total,
        half_weights=_HALF * matrices if mixed else 0,
        activations=per_token * tokens,
        activations_per_sequence=per_token * sequence_length,
        loss=loss_bytes(model, tokens, mixed=mixed, compiled=compiled),
    )


def loss_bytes(model: Model, tokens: int, *, mixed: bool, compiled: bool = False) -> int:
    """Bytes of the chunked loss at its peak, beside what grows with the number of tokens.

    A chunk's logits are float32; in mixed precision they are there in half precision too, and so
    is their gradient. Compiled, there are only the logits and their gradient. The output layer's
    gradient is summed in float32 over the chunks.
    """
    size = _HALF if mixed else _FLOAT
    each = 2 * size if compiled else _FLOAT + (2 * _HALF if mixed else 0)
    logits = each * model.vocab_size * min(tokens, LOSS_CHUNK)
    words = model.vocab_size * model.hidden_size
    summed = _FLOAT * words
    product = _HALF * words if mixed else 0
    return logits + summed + product + (0 if compiled else summed)


def fitting_micro_batch(
    memory: Memory, batch_size: int, budget: int, *, accumulates: bool = False
) -> int:
    """The largest divisor of ``batch_size`` sequences that ``budget`` bytes hold, at least 1.

    ``accumulates``: a step has several batches.
    """
    for n in range(batch_size, 1, -1):
        if batch_size % n == 0:
            needed = memory.of(n, accumulates=accumulates or n < batch_size)
            if needed.total <= budget:
                return n
    return 1


def saved_bytes_per_token(model: Model, *, mixed: bool, compiled: bool = False) -> int:
    """Bytes per token that the forward pass keeps for the backward pass, without dropout.

    The residual stream is float32 in any case; what goes into or comes out of a matrix product is
    in half precision where ``mixed``.
    """
    d, f = model.hidden_size, model.filter_size
    size = _HALF if mixed else _FLOAT
    # A projection keeps its input; in mixed precision each of q, k and v makes its own half copy,
    # unless a compiler sees that they are the same.
    copies = 3 if mixed and not compiled else 1
    norm = _FLOAT * d + 2 * _FLOAT  # its input (the residual stream), mean and deviation
    layer = (
        2 * norm
        + copies * size * d  # input of q, k, v
        + 3 * size * d  # queries, keys, values
        + _FLOAT * model.num_heads  # logarithm of the softmax's denominator
        + size * d  # input of the attention's output projection
        + size * d  # input of the feed-forward block
        + 2 * size * f  # before and after GELU
    )
    head = norm + _FLOAT * d  # gradient of the output layer's input
    return _TOKEN + model.num_hidden_layers * layer + head


def checkpoint_bytes(counts: ParameterCounts) -> int:
    """Weights, both moments and masks as they lie in a checkpoint."""
    return 3 * _FLOAT * counts.total + _MASK * counts.masked_total
