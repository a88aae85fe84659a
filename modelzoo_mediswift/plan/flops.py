"""Training FLOPs by the formula behind the paper's Table 6.

Per token, with L layers of width d, h heads, sequences of S tokens and V words:

    6 * nonzero(decoder matrices) + 10 V d + 12 L S d + 12 L h S

The first term is 6 * rho * 12 L d^2 in the paper's models, where all matrices have the density
rho. The formula was found by fitting: it gives every cell of Table 6 but one, Large at 75 %,
which does not fit the table's own other rows either.
"""

from dataclasses import dataclass

from modelzoo_mediswift.plan.inputs import Model


@dataclass(frozen=True)
class Flops:
    """Floating-point operations of forward and backward pass, by where they go."""

    linear: int
    """The decoder's matrices; the only term that sparsity reduces."""
    vocabulary: int
    """Embedding and output layer."""
    attention: int
    """Scores, and the values weighted by them."""
    softmax: int
    """Softmax of the scores."""

    @property
    def total(self) -> int:
        return self.linear + self.vocabulary + self.attention + self.softmax

    def times(self, tokens: int) -> "Flops":
        """The same for several tokens."""
        return Flops(
            self.linear * tokens,
            self.vocabulary * tokens,
            self.attention * tokens,
            self.softmax * tokens,
        )


def flops_per_token(model: Model, nonzero_weights: int, sequence_length: int) -> Flops:
    """FLOPs of training on one token.

    ``nonzero_weights`` counts the decoder's matrices; ``sequence_length`` is in tokens.
    """
    layers, d = model.num_hidden_layers, model.hidden_size
    return Flops(
        linear=6 * nonzero_weights,
        vocabulary=10 * model.vocab_size * d,
        attention=12 * layers * sequence_length * d,
        softmax=12 * layers * model.num_heads * sequence_length,
    )


def palm_flops_per_token(model: Model, weights: int, sequence_length: int) -> int:
    """FLOPs of training on one token as PaLM's report counts them (its appendix B).

    Six for each of the decoder's ``weights`` and of the output layer's, and the attention's; no
    softmax, and the embedding is a look-up. What model-FLOPs utilisation mostly stands for.
    """
    layers, d = model.num_hidden_layers, model.hidden_size
    return 6 * (weights + model.vocab_size * d) + 12 * layers * sequence_length * d
