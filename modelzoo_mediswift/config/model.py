"""``trainer.init.model``: the GPT-3 of Model Zoo 2.10, with soft prompts as an extra."""

import math
from collections.abc import Mapping
from contextlib import suppress
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BeforeValidator,
    Field,
    PlainValidator,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from modelzoo_mediswift.config import modelzoo_keys
from modelzoo_mediswift.config.modelzoo_keys import Refused
from modelzoo_mediswift.config.section import (
    DERIVED,
    NonNegativeInt,
    Number,
    PositiveFloat,
    PositiveInt,
    Probability,
    Problem,
    Section,
    expected,
    only,
    problem,
    raise_problems,
    show,
    unknown,
)


class TruncatedNormal(Section):
    """Normal distribution, cut off outside [a, b]."""

    name: Literal["truncated_normal"] = "truncated_normal"
    mean: Number = 0.0
    """Mean before the cut."""
    std: PositiveFloat = 0.05
    """Standard deviation before the cut."""
    a: Number = DERIVED
    """Lower bound, absolute; -2 std where absent."""
    b: Number = DERIVED
    """Upper bound, absolute; 2 std where absent."""

    @field_validator("a", "b", mode="before")
    @classmethod
    def _two_deviations(cls, bound: object, info: ValidationInfo) -> object:
        if bound is None:
            std = info.data.get("std", 1.0)  # a faulty std is an error of its own
            return -2 * std if info.field_name == "a" else 2 * std
        return bound

    @field_validator("b")
    @classmethod
    def _above_a(cls, b: float, info: ValidationInfo) -> float:
        if "a" in info.data and b <= info.data["a"]:
            raise problem(f"expected a number above a = {info.data['a']}, got {b}")
        return b


class Normal(Section):
    """Normal distribution."""

    name: Literal["normal"] = "normal"
    mean: Number = 0.0
    """Mean."""
    std: PositiveFloat = 0.05
    """Standard deviation."""


_INITIALIZERS: dict[str, type[TruncatedNormal] | type[Normal]] = {
    "truncated_normal": TruncatedNormal,
    "normal": Normal,
}


def _initializer(value: object) -> TruncatedNormal | Normal:
    """An initializer from its mapping, or from its bare name as Model Zoo allows."""
    if isinstance(value, TruncatedNormal | Normal):
        return value
    arguments = {"name": value} if isinstance(value, str) else value
    if not isinstance(arguments, Mapping):
        raise problem(f"expected an initializer as a mapping with `name`, got {show(value)}")
    name = arguments.get("name")
    if not isinstance(name, str):
        raise problem("missing `name`; expected one of " + ", ".join(_INITIALIZERS))
    if name not in _INITIALIZERS:
        text = modelzoo_keys.INITIALIZERS.get(name) or unknown("initializer", name, _INITIALIZERS)
        raise_problems("initializer", [Problem(("name",), text, name)])
    return _INITIALIZERS[name].model_validate(dict(arguments))


Initializer = Annotated[TruncatedNormal | Normal, PlainValidator(_initializer)]


def _must_be(value: object, otherwise: str, reasons: Mapping[str, str] | None = None) -> Any:
    """For a key of Model Zoo's of which we support one value only."""
    return BeforeValidator(only(value, otherwise, reasons or {}))


def _name(value: object) -> object:
    if not isinstance(value, str):
        raise problem(f"expected gpt3 or mediswift, got {show(value)}")
    if value in modelzoo_keys.MODEL_NAMES:
        raise problem(f"{modelzoo_keys.MODEL_NAMES[value]}; supported: gpt3, mediswift")
    if value not in ("gpt3", "mediswift"):
        raise problem(unknown("model", value, ["gpt3", "mediswift"]))
    return value


class ModelConfig(Section):
    """A GPT-3 decoder: pre-LayerNorm, learned positions, tied embeddings, biases everywhere."""

    refused: ClassVar[Mapping[str, Refused]] = modelzoo_keys.MODEL

    name: Annotated[Literal["gpt3", "mediswift"], BeforeValidator(_name)]
    """`gpt3`, or `mediswift`: the same with num_virtual_tokens."""

    # Embeddings
    vocab_size: Annotated[int, Field(ge=1, le=512_000), expected("an integer in [1, 512000]")] = (
        50257
    )
    """Number of tokens."""
    max_position_embeddings: PositiveInt = 1024
    """Longest sequence, in tokens."""
    hidden_size: PositiveInt = 768
    """Width of the residual stream (d_model)."""
    position_embedding_type: Annotated[
        Literal["learned"],
        _must_be(
            "learned", "unknown kind of position embedding", modelzoo_keys.POSITION_EMBEDDINGS
        ),
    ] = "learned"
    """One vector per position, added to the token's."""
    share_embedding_weights: Annotated[
        Literal[True],
        _must_be(True, "an output layer with its own weights is not supported here"),
    ] = True
    """The output layer's matrix is the word embeddings'."""
    use_bias_in_output: Annotated[
        Literal[False], _must_be(False, "a bias in the output layer is not supported here")
    ] = False
    """The output layer has no bias."""

    num_virtual_tokens: NonNegativeInt = 0
    """Length of the soft prompt, in tokens. Ids vocab_size and above select its vectors; they
    are never predicted. Only with `name: mediswift`."""

    # Decoder
    num_hidden_layers: PositiveInt = 12
    """Number of decoder layers."""
    num_heads: PositiveInt = 12
    """Attention heads; a divisor of hidden_size."""
    filter_size: PositiveInt = 3072
    """Inner width of the feed-forward block."""
    nonlinearity: Annotated[
        Literal["gelu"], _must_be("gelu", "only the exact GELU (by erf) is supported here")
    ] = "gelu"
    """Between the two matrices of the feed-forward block: x * Phi(x), not its tanh form."""
    layer_norm_epsilon: PositiveFloat = 1e-5
    """Added to the variance in every LayerNorm."""
    attention_type: Annotated[
        Literal["scaled_dot_product"],
        _must_be(
            "scaled_dot_product",
            "unknown kind of attention",
            {"dot_product": "unscaled attention is Model Zoo's but not supported here"},
        ),
    ] = "scaled_dot_product"
    """Scores are divided by the square root of the head's width."""
    use_projection_bias_in_attention: Annotated[
        Literal[True],
        _must_be(True, "a query, key or value projection without bias is not supported here"),
    ] = True
    """The query, key and value projections have biases."""
    use_ffn_bias_in_attention: Annotated[
        Literal[True],
        _must_be(True, "an attention output projection without bias is not supported here"),
    ] = True
    """The attention's output projection has a bias."""
    use_ffn_bias: Annotated[
        Literal[True], _must_be(True, "a feed-forward block without biases is not supported here")
    ] = True
    """Both matrices of the feed-forward block have biases."""

    # Dropout, as the probability of a zero
    dropout_rate: Probability = 0.1
    """On what the attention and the feed-forward block add to the residual stream."""
    embedding_dropout_rate: Probability = DERIVED
    """On the sum of the embeddings; dropout_rate where absent or null."""
    attention_dropout_rate: Probability = 0.1
    """On the attention's probabilities; dropout_rate where null."""

    # Initial values
    initializer_range: PositiveFloat = 0.02
    """Standard deviation of the initializers that are not given."""
    embedding_initializer: Initializer = DERIVED
    """Word, position and prompt embeddings. Where absent: truncated normal, initializer_range."""
    initializer: Initializer = DERIVED
    """Matrices of the decoder. Where absent: truncated normal, initializer_range."""
    output_layer_initializer: Initializer = DERIVED
    """The two matrices per layer that write to the residual stream. Where absent: `initializer`
    if given, else truncated normal with initializer_range / sqrt(2 num_hidden_layers)."""

    # Loss
    loss_scaling: Annotated[
        Literal["num_tokens"],
        _must_be(
            "num_tokens",
            "unknown loss scaling",
            {"batch_size": "a loss per sequence is Model Zoo's but not supported here"},
        ),
    ] = "num_tokens"
    """The loss is the mean over the tokens that the loss mask counts."""
    loss_weight: Annotated[
        float, Field(ge=1, le=1), expected("1.0, since loss_scaling is num_tokens")
    ] = 1.0
    """Factor of the loss."""
    compute_eval_metrics: bool = True
    """Whether Model Zoo's validation reports perplexity and accuracy; here it always does."""

    @model_validator(mode="before")
    @classmethod
    def _output_layer_follows(cls, data: Any) -> Any:
        if not isinstance(data, Mapping) or data.get("initializer") is None:
            return data
        if data.get("output_layer_initializer") is None:
            # A faulty initializer is reported once, where it stands.
            with suppress(ValidationError, PydanticCustomError):
                return {**data, "output_layer_initializer": _initializer(data["initializer"])}
        return data

    @field_validator("embedding_dropout_rate", "attention_dropout_rate", mode="before")
    @classmethod
    def _same_dropout(cls, rate: object, info: ValidationInfo) -> object:
        return info.data.get("dropout_rate", 0.0) if rate is None else rate

    @field_validator(
        "embedding_initializer", "initializer", "output_layer_initializer", mode="before"
    )
    @classmethod
    def _default_initializer(cls, value: object, info: ValidationInfo) -> object:
        if value is not None:
            return value
        std = info.data.get("initializer_range", 1.0)
        if info.field_name == "output_layer_initializer":
            std /= math.sqrt(2 * info.data.get("num_hidden_layers", 1))
        return TruncatedNormal(std=std)

    @field_validator("num_virtual_tokens")
    @classmethod
    def _soft_prompt(cls, tokens: int, info: ValidationInfo) -> int:
        if tokens and info.data.get("name") == "gpt3":
            raise problem("a soft prompt needs `name: mediswift`, got name gpt3")
        return tokens

    @field_validator("num_heads")
    @classmethod
    def _divides_hidden_size(cls, num_heads: int, info: ValidationInfo) -> int:
        hidden_size = info.data.get("hidden_size")
        if hidden_size is not None and hidden_size % num_heads:
            raise problem(f"expected a divisor of hidden_size = {hidden_size}, got {num_heads}")
        return num_heads
