"""From a sparse checkpoint to a dense model (paper, section 2.2.1)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

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


def load_dense(model: GPT3, tensors: Mapping[str, Tensor], origin: Path) -> int:
    """Load sparse (or dense) weights into a dense model, strictly; returns the revived weights.

    Revived weights start at exactly zero. The soft prompt, which pre-training does not have,
    keeps its initial values. Raises UserError if a masked weight is not zero, since the dense
    model would then not be the function that was trained.
    """
    weights, masks = split_masks(tensors)
    own = unique_tensors(model)
    if PROMPT in own and PROMPT not in weights:
        weights[PROMPT] = own[PROMPT].detach().clone()
    revived = 0
    for mask_name, mask in masks.items():
        name = mask_name.removesuffix(MASK_SUFFIX)
        if mask.shape != weights[name].shape:
            raise UserError(f"{origin}: {mask_name} has another shape than its weight")
        if weights[name].masked_select(~mask.bool()).any():
            raise UserError(f"{origin}: {name} has masked weights that are not zero")
        revived += int((~mask.bool()).sum())
    masked = {
        name: weight * masks[name + MASK_SUFFIX] if name + MASK_SUFFIX in masks else weight
        for name, weight in weights.items()
    }
    load_tensors(model, masked)
    before = _probe(model)
    load_tensors(model, weights)
    if not torch.equal(before, _probe(model)):
        raise UserError(f"{origin}: removing the masks changes the model's output")
    return revived


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
