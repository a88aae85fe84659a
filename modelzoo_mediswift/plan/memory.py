"""Bytes that training takes on a CPU or GPU, and bytes of a checkpoint.

Weights, gradients and Adam's two moments are float32, a mask is one byte per weight. The
activations are those that the backward pass needs, for attention that does not store its
scores. What an allocator or a library adds is not in it.
"""

from dataclasses import dataclass

from modelzoo_mediswift.plan.inputs import Model
from modelzoo_mediswift.plan.parameters import ParameterCounts

_FLOAT = 4
_HALF = 2
_MASK = 1
_TOKEN = 8


@dataclass(frozen=True)
class Memory:
    """Bytes, by what they hold."""

    weights: int
    gradients: int
    """With the copies that RigL makes in the steps before its changes."""
    optimizer: int
    """Adam's two moments."""
    masks: int
    half_weights: int
    """The copies of the matrices that mixed precision multiplies."""
    activations: int
    """Of one micro-batch, logits included."""
    activations_per_sequence: int
    """The same for a single sequence; part of ``activations``."""

    @property
    def total(self) -> int:
        return (
            self.weights
            + self.gradients
            + self.optimizer
            + self.masks
            + self.half_weights
            + self.activations
        )


def training_memory(
    model: Model, counts: ParameterCounts, *, sequences: int, sequence_length: int, mixed: bool
) -> Memory:
    """Memory of one step with micro-batches of ``sequences`` x ``sequence_length`` tokens."""
    per_token = activation_bytes_per_token(model, mixed=mixed)
    matrices = counts.paper + model.vocab_size * model.hidden_size
    return Memory(
        weights=_FLOAT * counts.total,
        gradients=_FLOAT * (counts.total + counts.kept_gradients),
        optimizer=2 * _FLOAT * counts.total,
        masks=_MASK * counts.masked_total,
        half_weights=_HALF * matrices if mixed else 0,
        activations=per_token * sequences * sequence_length,
        activations_per_sequence=per_token * sequence_length,
    )


def activation_bytes_per_token(model: Model, *, mixed: bool) -> int:
    """Bytes per token at the start of the backward pass, without dropout.

    The residual stream and the loss are float32 in any case; what goes into or comes out of a
    matrix product is in half precision where ``mixed``.
    """
    # Logits, and the gradient of their log-softmax.
    logits = (_HALF if mixed else _FLOAT) * model.vocab_size + _FLOAT * model.vocab_size
    return saved_bytes_per_token(model, mixed=mixed) + logits


def saved_bytes_per_token(model: Model, *, mixed: bool) -> int:
    """Bytes per token that the forward pass keeps for the backward pass, without dropout."""
    d, f = model.hidden_size, model.filter_size
    size = _HALF if mixed else _FLOAT
    # A projection keeps its input; in mixed precision each of q, k and v makes its own half copy.
    copies = 3 if mixed else 1
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
    head = norm + size * d + _FLOAT * model.vocab_size  # input of the output layer; log-softmax
    return _TOKEN + model.num_hidden_layers * layer + head


def checkpoint_bytes(counts: ParameterCounts) -> int:
    """Weights, both moments and masks as they lie in a checkpoint."""
    return 3 * _FLOAT * counts.total + _MASK * counts.masked_total
