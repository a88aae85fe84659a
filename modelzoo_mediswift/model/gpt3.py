"""The GPT-3 decoder of the paper (section 2.1, Table 5), with Model Zoo's parameter names.

Pre-LayerNorm, learned positions, exact GELU, biases everywhere but in the tied output
projection. Shapes in comments: B batch, T query length, S key length (cached + T), d hidden
size, h heads, V vocabulary, n virtual tokens.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modelzoo_mediswift.kernels.attention import causal_attention, is_faster
from modelzoo_mediswift.kernels.dense import linear
from modelzoo_mediswift.model.key_values import KeyValues

_NEARLY_ONE = 1 - 2**-24  # the largest fp32 number below 1, where erfinv is infinite


@dataclass(frozen=True)
class Initializer:
    """A normal distribution, cut outside [low, high]."""

    std: float
    mean: float = 0.0
    low: float = -math.inf
    high: float = math.inf

    def fill(self, weight: Tensor, generator: torch.Generator) -> None:
        if math.isinf(self.low) and math.isinf(self.high):
            nn.init.normal_(weight, self.mean, self.std, generator=generator)
            return
        # By the inverse of the distribution function. `nn.init.trunc_normal_` draws other numbers
        # from torch 2.13 on, and takes ten times as long: minutes for XL.
        width = self.std * math.sqrt(2)
        low, high = (math.erf((end - self.mean) / width) for end in (self.low, self.high))
        weight.uniform_(max(low, -_NEARLY_ONE), min(high, _NEARLY_ONE), generator=generator)
        weight.erfinv_().mul_(width).add_(self.mean).clamp_(self.low, self.high)


def truncated(std: float) -> Initializer:
    """Model Zoo's default form: cut at two standard deviations."""
    return Initializer(std, low=-2 * std, high=2 * std)


class LearnedPositions(nn.Module):
    def __init__(self, max_positions: int, hidden_size: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(max_positions, hidden_size)

    def forward(self, positions: Tensor) -> Tensor:
        return self.embed(positions)


class EmbeddingLayer(nn.Module):
    def __init__(self, vocab_size: int, hidden_size: int, max_positions: int) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(vocab_size, hidden_size)
        self.position_embeddings = LearnedPositions(max_positions, hidden_size)


class Linear(nn.Linear):
    """PyTorch's layer, which a CPU may differentiate faster."""

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight, self.bias)


class Attention(nn.Module):
    """Causal multi-head self-attention."""

    def __init__(self, hidden_size: int, num_heads: int, dropout_rate: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.dropout_rate = dropout_rate
        self.proj_q_dense_layer = Linear(hidden_size, hidden_size)
        self.proj_k_dense_layer = Linear(hidden_size, hidden_size)
        self.proj_v_dense_layer = Linear(hidden_size, hidden_size)
        self.proj_output_dense_layer = Linear(hidden_size, hidden_size)

    def _heads(self, x: Tensor) -> Tensor:  # (B, T, d) -> (B, h, T, d/h)
        batch, length, hidden = x.shape
        return x.view(batch, length, self.num_heads, hidden // self.num_heads).transpose(1, 2)

    def projections(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, each (B, T, d)."""
        return (
            self.proj_q_dense_layer(x),
            self.proj_k_dense_layer(x),
            self.proj_v_dense_layer(x),
        )

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None,
        past: KeyValues | None,
        keep: bool,
        at: Tensor | None = None,
    ) -> tuple[Tensor, KeyValues | None]:
        q, k, v = map(self._heads, self.projections(x))
        if at is not None:
            q = _picked(q.transpose(1, 2), at).transpose(1, 2)  # (B, h, 1, d/h)
            mask = (torch.arange(x.shape[1], device=x.device) <= at.unsqueeze(1))[:, None, None]
        present = None
        if past is not None:
            present = past.extended(k, v)
            k, v = present.keys, present.values  # (B, h, S, d/h)
        elif keep:
            present = KeyValues.of(k, v)
        causal = mask is None and past is None
        dropout = self.dropout_rate if self.training else 0.0
        if causal and not dropout and is_faster(q):
            y = causal_attention(q, k, v)
        else:
            y = F.scaled_dot_product_attention(
                q, k, v, attn_mask=mask, dropout_p=dropout, is_causal=causal
            )
        y = y.transpose(1, 2).flatten(2)  # (B, T, d)
        return self.proj_output_dense_layer(y), present if keep else None


def _picked(x: Tensor, at: Tensor) -> Tensor:
    """One position `at` (B,) of each sequence: (B, T, ...) -> (B, 1, ...)."""
    return x[torch.arange(len(x), device=x.device), at].unsqueeze(1)


class FeedForwardLayer(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear_layer = Linear(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear_layer(x)


class FeedForward(nn.Module):
    def __init__(self, hidden_size: int, filter_size: int) -> None:
        super().__init__()
        self.ffn = nn.ModuleList(
            [FeedForwardLayer(hidden_size, filter_size), FeedForwardLayer(filter_size, hidden_size)]
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.ffn[1](F.gelu(self.ffn[0](x)))


class DecoderLayer(nn.Module):
    """One pre-LayerNorm block. Model Zoo numbers its norms 1 and 3: 2 belongs to
    cross-attention, which a decoder-only model lacks. The parts are in its order, too, by which
    its optimizer numbers parameters."""

    def __init__(
        self,
        hidden_size: int,
        num_heads: int,
        filter_size: int,
        epsilon: float,
        dropout_rate: float,
        attention_dropout_rate: float,
    ) -> None:
        super().__init__()
        self.self_attn = Attention(hidden_size, num_heads, attention_dropout_rate)
        self.norm1 = nn.LayerNorm(hidden_size, eps=epsilon)
        self.norm3 = nn.LayerNorm(hidden_size, eps=epsilon)
        self.ffn = FeedForward(hidden_size, filter_size)
        self.dropout = nn.Dropout(dropout_rate)

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None,
        past: KeyValues | None,
        keep: bool,
        at: Tensor | None = None,
    ) -> tuple[Tensor, KeyValues | None]:
        attended, present = self.self_attn(self.norm1(x), mask, past, keep, at)
        if at is not None:
            x = _picked(x, at)
        x = x + self.dropout(attended)
        x = x + self.dropout(self.ffn(self.norm3(x)))
        return x, present


class TransformerDecoder(nn.Module):
    def __init__(self, layers: list[DecoderLayer], norm: nn.LayerNorm) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.norm = norm


class GPT3LMHead(nn.Module):
    """Embeddings, decoder and output projection: what Model Zoo keeps under `model.`"""

    def __init__(
        self,
        embedding: EmbeddingLayer,
        layers: list[DecoderLayer],
        norm: nn.LayerNorm,
        head: nn.Linear,
    ) -> None:
        super().__init__()
        self.embedding_layer = embedding
        self.ln_f = norm
        self.transformer_decoder = TransformerDecoder(layers, norm)  # shares ln_f, as there
        self.lm_head = head


class GPT3(nn.Module):
    """GPT-3 with an optional soft prompt.

    Token ids in [vocab_size, vocab_size + num_virtual_tokens) are virtual tokens: they are
    read from `prompt_embedding` and never predicted (paper, section 2.2.2).
    """

    def __init__(
        self,
        *,
        vocab_size: int,
        hidden_size: int,
        num_hidden_layers: int,
        num_heads: int,
        filter_size: int,
        max_position_embeddings: int,
        num_virtual_tokens: int = 0,
        layer_norm_epsilon: float = 1e-5,
        dropout_rate: float = 0.0,
        attention_dropout_rate: float = 0.0,
        embedding_dropout_rate: float = 0.0,
        embedding_initializer: Initializer | None = None,
        initializer: Initializer | None = None,
        output_layer_initializer: Initializer | None = None,
        seed: int | None = 0,
    ) -> None:
        """`seed` None draws no weights: they are about to be loaded, and drawing takes time."""
        super().__init__()
        self.vocab_size = vocab_size
        self.num_virtual_tokens = num_virtual_tokens
        self.max_position_embeddings = max_position_embeddings
        layers = [
            DecoderLayer(
                hidden_size,
                num_heads,
                filter_size,
                layer_norm_epsilon,
                dropout_rate,
                attention_dropout_rate,
            )
            for _ in range(num_hidden_layers)
        ]
        self.model = GPT3LMHead(
            EmbeddingLayer(vocab_size, hidden_size, max_position_embeddings),
            layers,
            nn.LayerNorm(hidden_size, eps=layer_norm_epsilon),
            Linear(hidden_size, vocab_size, bias=False),
        )
        self.model.lm_head.weight = self.model.embedding_layer.word_embeddings.weight
        if num_virtual_tokens:
            self.prompt_embedding = nn.Embedding(num_virtual_tokens, hidden_size)
        self.embedding_dropout = nn.Dropout(embedding_dropout_rate)

        if seed is None:
            return
        plain = initializer or truncated(0.02)
        self._initialize(
            seed,
            embedding=embedding_initializer or truncated(0.02),
            plain=plain,
            # GPT-2's rule: residual branches add up, so their last layers start smaller.
            output=output_layer_initializer
            or truncated(plain.std / math.sqrt(2 * num_hidden_layers)),
        )

    def _initialize(
        self, seed: int, embedding: Initializer, plain: Initializer, output: Initializer
    ) -> None:
        """Fill all parameters, in the order of `named_parameters`, from one generator."""
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                if "norm" in name or "ln_f" in name:
                    parameter.fill_(1.0 if name.endswith("weight") else 0.0)
                elif name.endswith("bias"):
                    parameter.zero_()
                elif "embedding" in name:
                    embedding.fill(parameter, generator)
                elif "proj_output_dense_layer" in name or "ffn.ffn.1." in name:
                    output.fill(parameter, generator)
                else:
                    plain.fill(parameter, generator)

    def embed(self, input_ids: Tensor, positions: Tensor) -> Tensor:
        """Token (or virtual token) plus position embeddings: (B, T) -> (B, T, d)."""
        words = self.model.embedding_layer.word_embeddings
        if self.num_virtual_tokens:
            virtual = input_ids >= self.vocab_size
            prompt = self.prompt_embedding((input_ids - self.vocab_size).clamp(min=0))
            x = torch.where(virtual.unsqueeze(-1), prompt, words(input_ids.masked_fill(virtual, 0)))
        else:
            x = words(input_ids)
        return self.embedding_dropout(x + self.model.embedding_layer.position_embeddings(positions))

    def hidden_states(
        self,
        input_ids: Tensor,
        positions: Tensor | None = None,
        mask: Tensor | None = None,
        past: list[KeyValues] | None = None,
        keep_cache: bool = False,
        at: Tensor | None = None,
    ) -> tuple[Tensor, list[KeyValues]]:
        """Final hidden states (B, T, d) and, if asked for, each layer's keys and values.

        Without `mask` (B, 1, T, S; True = may attend) attention is causal over the T inputs; after
        a `past` it is over everything, which is right for one input alone.
        `at` (B,) asks for the states of one position of each sequence alone, (B, 1, d), without
        `mask` and `past`: of the last layer little else is then computed than keys and values.
        """
        if positions is None:
            positions = torch.arange(input_ids.shape[1], device=input_ids.device)
        x = self.embed(input_ids, positions)
        cache: list[KeyValues] = []
        layers = self.model.transformer_decoder.layers
        for i, layer in enumerate(layers):
            only = at if i == len(layers) - 1 else None
            x, present = layer(x, mask, past[i] if past else None, keep_cache, only)
            if present is not None:
                cache.append(present)
        return self.model.ln_f(x), cache

    def logits(self, hidden: Tensor) -> Tensor:
        """(..., d) -> (..., V)."""
        return self.model.lm_head(hidden)

    def forward(self, input_ids: Tensor) -> Tensor:
        """Logits (B, T, V) of the next token for ids (B, T)."""
        return self.logits(self.hidden_states(input_ids)[0])
