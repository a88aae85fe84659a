"""Parameters of a model, counted from their names and shapes."""

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from modelzoo_mediswift.errors import UserError
from modelzoo_mediswift.plan.density import gradient_share, mean_sparsity
from modelzoo_mediswift.plan.inputs import Model, SparsityBlock

Shape = tuple[int, ...]

# Without a filter every matrix is masked but these, as in cstorch's default filter.
_DENSE_BY_DEFAULT = ("embedding", "norm", "lm_head", "pe_helper")

# Every parameter matches exactly one; a kind is a line in the report.
_KINDS = (
    ("*.proj_[qkv]_dense_layer.weight", "query, key, value"),
    ("*.proj_output_dense_layer.weight", "attention output"),
    ("*.linear_layer.weight", "feed-forward"),
    ("*.word_embeddings.weight", "word embeddings"),
    ("*.position_embeddings.embed.weight", "position embeddings"),
    ("prompt_embedding.weight", "soft prompt"),
    ("*_layer.bias", "biases"),
    ("*.norm[13].*", "LayerNorm"),
    ("*.ln_f.*", "LayerNorm"),
)


@dataclass(frozen=True)
class KindCount:
    """Parameters of one kind, over all layers."""

    kind: str
    total: int
    nonzero: int
    """Those that no mask holds at zero."""

    @property
    def sparsity(self) -> float:
        """Fraction of zeros."""
        return 1 - self.nonzero / self.total


@dataclass(frozen=True)
class ParameterCounts:
    """Sizes of a model. The output layer shares the word embeddings' matrix: counted once."""

    paper: int
    """Weights of the decoder's matrices only, the count of the paper's Table 5."""
    paper_nonzero: int
    """Those of them that no mask holds at zero."""
    total: int
    """All parameters."""
    nonzero: int
    """Those that no mask holds at zero."""
    masked_total: int
    """Parameters that have a mask, whether it holds them or not: the masks' size in bytes."""
    kinds: tuple[KindCount, ...]
    regrowth: float = 0.0
    """Masked weights of the decoder's matrices whose gradients RigL needs, mean per step."""
    kept_gradients: int = 0
    """Gradients that RigL keeps beside the masked ones, in the steps before its changes."""


def parameter_shapes(model: Model) -> dict[str, Shape]:
    """Name -> shape of every parameter, in the model's order."""
    d, f = model.hidden_size, model.filter_size
    shapes: dict[str, Shape] = {
        "model.embedding_layer.word_embeddings.weight": (model.vocab_size, d),
        "model.embedding_layer.position_embeddings.embed.weight": (
            model.max_position_embeddings,
            d,
        ),
        "model.ln_f.weight": (d,),
        "model.ln_f.bias": (d,),
    }
    layer: dict[str, Shape] = {}
    for projection in ("q", "k", "v", "output"):
        layer[f"self_attn.proj_{projection}_dense_layer.weight"] = (d, d)
        layer[f"self_attn.proj_{projection}_dense_layer.bias"] = (d,)
    layer |= {"norm1.weight": (d,), "norm1.bias": (d,)}
    layer |= {"norm3.weight": (d,), "norm3.bias": (d,)}
    layer |= {"ffn.ffn.0.linear_layer.weight": (f, d), "ffn.ffn.0.linear_layer.bias": (f,)}
    layer |= {"ffn.ffn.1.linear_layer.weight": (d, f), "ffn.ffn.1.linear_layer.bias": (d,)}
    for i in range(model.num_hidden_layers):
        for name, shape in layer.items():
            shapes[f"model.transformer_decoder.layers.{i}.{name}"] = shape
    if model.num_virtual_tokens:
        shapes["prompt_embedding.weight"] = (model.num_virtual_tokens, d)
    return shapes


def sparsity_by_name(
    shapes: Mapping[str, Shape], blocks: Sequence[SparsityBlock], steps: int | None = None
) -> dict[str, float]:
    """Name -> fraction of zeros, the mean over a run's steps, for the parameters that are masked.

    Raises:
        UserError: a glob matches no parameter.
    """
    for block in blocks:
        for glob in block.param_filter or ():
            if not any(fnmatchcase(name, glob) for name in shapes):
                raise UserError(
                    f'trainer.init.sparsity.param_filter: "{glob}" matches no parameter '
                    f"(they have names like {list(shapes)[-1]})"
                )
    chosen = block_by_name(shapes, blocks)
    means = {id(block): mean_sparsity(block, steps) for block in blocks}
    return {name: means[id(block)] for name, block in chosen.items()}


def block_by_name(
    shapes: Mapping[str, Shape], blocks: Sequence[SparsityBlock]
) -> dict[str, SparsityBlock]:
    """Name -> the first block that matches, for the parameters that are masked."""
    chosen = {}
    for name, shape in shapes.items():
        for block in blocks:
            if _matches(name, shape, block.param_filter):
                chosen[name] = block
                break
    return chosen


def number_kept(numel: int, sparsity: float) -> int:
    """int((1 - sparsity) * numel) in single precision, which cstorch computes it in.

    Double precision would keep none of 10 weights at 90 %, since 1 - 0.9 < 0.1 there.
    """
    density = _single(1 - _single(sparsity))
    return int(_single(density * _single(numel)))


def count_parameters(
    model: Model, blocks: Sequence[SparsityBlock], steps: int | None = None
) -> ParameterCounts:
    """Count a model's parameters under its masks, those that change at their mean over `steps`.

    A mask by ``from_zeros`` depends on the weights; it is counted as if it had the level that
    its block names.
    """
    shapes = parameter_shapes(model)
    masked = sparsity_by_name(shapes, blocks, steps)
    kept = {
        name: number_kept(math.prod(shape), masked[name]) if name in masked else math.prod(shape)
        for name, shape in shapes.items()
    }
    matrices = [name for name in shapes if is_decoder_matrix(name)]
    chosen = block_by_name(shapes, blocks)
    shares = {id(block): gradient_share(block, steps) for block in blocks}
    return ParameterCounts(
        paper=sum(math.prod(shapes[name]) for name in matrices),
        paper_nonzero=sum(kept[name] for name in matrices),
        total=sum(map(math.prod, shapes.values())),
        nonzero=sum(kept.values()),
        masked_total=sum(math.prod(shapes[name]) for name in masked),
        kinds=_by_kind(shapes, kept),
        regrowth=sum(
            shares[id(chosen[name])] * (math.prod(shapes[name]) - kept[name])
            for name in matrices
            if name in chosen
        ),
        kept_gradients=sum(
            math.prod(shapes[name]) for name, block in chosen.items() if shares[id(block)] > 0
        ),
    )


def is_decoder_matrix(name: str) -> bool:
    """Whether a parameter is one of the six matrices of a decoder layer."""
    return ".layers." in name and name.endswith("_layer.weight")


def _by_kind(shapes: Mapping[str, Shape], kept: Mapping[str, int]) -> tuple[KindCount, ...]:
    sums: dict[str, tuple[int, int]] = {}
    for name, shape in shapes.items():
        kind = next(kind for glob, kind in _KINDS if fnmatchcase(name, glob))
        total, nonzero = sums.get(kind, (0, 0))
        sums[kind] = (total + math.prod(shape), nonzero + kept[name])
    order = dict.fromkeys(kind for _, kind in _KINDS)
    return tuple(KindCount(kind, *sums[kind]) for kind in order if kind in sums)


def _matches(name: str, shape: Shape, globs: tuple[str, ...] | None) -> bool:
    if globs is None:
        return len(shape) > 1 and not any(part in name.lower() for part in _DENSE_BY_DEFAULT)
    return any(fnmatchcase(name, glob) for glob in globs)


def _single(value: float) -> float:
    """The nearest single-precision number."""
    rounded: float = struct.unpack("f", struct.pack("f", value))[0]
    return rounded
