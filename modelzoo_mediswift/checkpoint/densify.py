"""From a sparse checkpoint to a dense model (paper, section 2.2.1)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from modelzoo_mediswift.checkpoint.revival import Revival, RevivalInit
from modelzoo_mediswift.errors import UserError
from modelzoo_mediswift.model.gpt3 import GPT3
from modelzoo_mediswift.model.tensors import load_tensors, unique_tensors
from modelzoo_mediswift.sparsity.masking import MASK_SUFFIX

PROMPT = "prompt_embedding.weight"
PROBE_LENGTH = 16  # positions on which the function is compared


def split_masks(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Weights and masks; a mask is called `<weight>_mask` and its weight is there too."""
    masks = {
        name: tensor
        for name, tensor in tensors.items()
        if name.endswith(MASK_SUFFIX) and name.removesuffix(MASK_SUFFIX) in tensors
    }
    return {name: tensor for name, tensor in tensors.items() if name not in masks}, masks


def load_dense(
    model: GPT3, tensors: Mapping[str, Tensor], origin: Path, init: RevivalInit | None = None
) -> Revival:
    """Load sparse (or dense) weights into a dense model, strictly; returns what was revived.

    Revived weights start as `init` says, by default at exactly zero. The soft prompt, which
    pre-training does not have, keeps its initial values. Raises UserError if a masked weight is
    not zero, since the dense model would then not be the function that was trained.
    """
    init = init or RevivalInit()
    weights, masks = split_masks(tensors)
    weights = with_prompt(model, weights)
    revived = {}
    for mask_name, mask in masks.items():
        name = mask_name.removesuffix(MASK_SUFFIX)
        if mask.shape != weights[name].shape:
            raise UserError(f"{origin}: {mask_name} has another shape than its weight")
        revived[name] = ~mask.bool()
        if weights[name].masked_select(revived[name]).any():
            raise UserError(f"{origin}: {name} has masked weights that are not zero")
    masked = {
        name: weight * ~revived[name] if name in revived else weight
        for name, weight in weights.items()
    }
    load_tensors(model, masked)
    if not revived:
        return Revival()
    before = _probe(model)
    drawn = {name: init.draw(name, weights[name], places) for name, places in revived.items()}
    load_tensors(model, weights | drawn)
    after = _probe(model)
    if init.method == "zeros" and not torch.equal(before, after):
        raise UserError(f"{origin}: removing the masks changes the model's output")
    return Revival(revived, init, float((after - before).abs().max()))


def with_prompt(model: GPT3, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`tensors`, with the model's own soft prompt where they have none."""
    own = unique_tensors(model)
    if PROMPT in own and PROMPT not in tensors:
        return {**tensors, PROMPT: own[PROMPT].detach().clone()}
    return dict(tensors)


@torch.no_grad()
def _probe(model: GPT3) -> Tensor:
    """Logits for a few fixed tokens and all virtual tokens."""
    was_training = model.training
    model.eval()
    n_virtual = model.num_virtual_tokens
    length = min(PROBE_LENGTH + n_virtual, model.max_position_embeddings)
    ids = torch.arange(length) * 7919 % model.vocab_size  # a prime stride: ids all over the table
    if n_virtual:
        virtual = model.vocab_size + torch.arange(n_virtual)
        ids = torch.cat((ids, virtual))[-length:]
    device = next(model.parameters()).device
    logits = model(ids.unsqueeze(0).to(device))
    model.train(was_training)
    return logits
