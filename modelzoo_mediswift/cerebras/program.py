"""GPT3 written out in the operations that Model Zoo's GPT-3 sends to the Cerebras compiler.

The compiler matches kernels to patterns of operations, so the same mathematics in other words
(PyTorch's fused attention, logits at selected positions) would be another program. Here attention
is its two products with a softmax between them, and the loss covers every position and is masked
afterwards. Parameters and their names are GPT3's own.
"""

from __future__ import annotations

import math
from typing import cast

import cerebras.pytorch as cstorch
import torch
import torch.nn.functional as F
from torch import Tensor

from modelzoo_mediswift.model.gpt3 import GPT3, Attention, DecoderLayer, Initializer

Features = dict[str, Tensor]
"""int32 (B, T) under Model Zoo's names: input_ids, attention_mask (the loss mask), labels."""


class TracedGPT3(GPT3):
    """A GPT3 whose forward pass is the loss, with static shapes and without host decisions."""

    def forward(self, batch: Features) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """Mean loss over the positions that the mask selects, and logits (B, T, V)."""
        input_ids = batch["input_ids"]
        x = self.embedding_dropout(self._embed(input_ids))  # (B, T, d)
        layers = cast(list[DecoderLayer], self.model.transformer_decoder.layers)
        bias = _causal_bias(x, layers[0].self_attn.num_heads)
        for layer in layers:
            attended = _attention(layer.self_attn, layer.norm1(x), bias)
            x = x + layer.dropout(attended)
            x = x + layer.dropout(layer.ffn(layer.norm3(x)))
        logits = self._head(self.model.ln_f(x))
        return _masked_mean_loss(logits, batch["labels"], batch["attention_mask"]), logits

    def _embed(self, input_ids: Tensor) -> Tensor:
        batch, length = input_ids.shape
        embedding = self.model.embedding_layer
        if self.num_virtual_tokens:
            virtual = input_ids >= self.vocab_size
            prompt = self.prompt_embedding((input_ids - self.vocab_size).clamp(min=0))
            words = embedding.word_embeddings(torch.where(virtual, 0, input_ids))
            words = torch.where(virtual.unsqueeze(-1), prompt, words)
        else:
            words = embedding.word_embeddings(input_ids)
        device = "cpu" if cstorch.use_cs() else input_ids.device
        positions = cstorch.make_constant(torch.arange(length, device=device))
        return words + embedding.position_embeddings(positions.expand(batch, -1))

    def _head(self, hidden: Tensor) -> Tensor:
        """The output projection; at precision level 1 its backward pass is computed at level 0,
        as in Model Zoo."""
        head = self.model.lm_head
        if cstorch.use_cs() and cstorch.backends.csx.precision.optimization_level == 1:
            return cstorch.pol(bwd_level=0)(head)(hidden)
        return head(hidden)


class UninitializedGPT3(TracedGPT3):
    """For compiling alone: no weight gets a value."""

    def _initialize(
        self, seed: int, embedding: Initializer, plain: Initializer, output: Initializer
    ) -> None:
        pass


def _causal_bias(x: Tensor, num_heads: int) -> Tensor:
    """(B, h, T, T): 0 where a query may look, -inf at keys that come after it.

    In float arithmetic, as the compiler expects a mask to be made."""
    batch, length, _ = x.shape
    place = torch.arange(length, device=x.device, dtype=torch.float32)
    shape = (batch, num_heads, length, length)
    distance = place[:, None].broadcast_to(shape) - place[None, :].broadcast_to(shape)
    ahead = (-distance).to(x.dtype)
    return torch.where(ahead > 0, torch.tensor(float("-inf"), dtype=ahead.dtype), 0)


def _attention(layer: Attention, x: Tensor, bias: Tensor) -> Tensor:
    batch, length, hidden = x.shape
    width = hidden // layer.num_heads

    def heads(projected: Tensor) -> Tensor:  # (B, T, d) -> (B, h, T, d/h)
        return projected.view(batch, length, layer.num_heads, width).transpose(1, 2)

    q = heads(layer.proj_q_dense_layer(x))
    k = heads(layer.proj_k_dense_layer(x))
    v = heads(layer.proj_v_dense_layer(x))
    q = q * torch.tensor(1 / math.sqrt(width), dtype=q.dtype)
    scores = torch.matmul(q, k.transpose(-1, -2))
    scores = scores + bias.type_as(scores)
    weights = F.dropout(F.softmax(scores, dim=-1), layer.dropout_rate, layer.training)
    y = torch.matmul(weights, v).transpose(1, 2).reshape(batch, length, hidden)
    return layer.proj_output_dense_layer(y)


def _masked_mean_loss(logits: Tensor, labels: Tensor, loss_mask: Tensor) -> Tensor:
    flat = logits.view(-1, logits.shape[-1])
    losses = F.cross_entropy(flat, labels.view(-1).long(), reduction="none")
    mask = loss_mask.to(dtype=logits.dtype)
    return torch.sum(losses * mask.view(-1)) / torch.sum(mask)
