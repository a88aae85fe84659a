"""A Hugging Face folder of GPT-2's architecture from a checkpoint, and back.

GPT-2 computes what our model computes, under other names: the same pre-LayerNorm blocks, learned
positions and a projection without bias. Three things need care:

* its linear layers keep their weights transposed, and queries, keys and values in one matrix;
* its activation must be set to the exact GELU, since its own default is an approximation;
* virtual tokens become the vocabulary's last rows. GPT-2's head has no bias that could forbid
  them, so the head is untied and each virtual token's row is the mean of all words' rows: its
  logit is then the mean of the words' logits, never above the highest. `suppress_tokens` in
  generation_config.json keeps sampling from drawing one, too.

Masks are dropped: masked weights are zeros, and stay zeros.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from modelzoo_mediswift.checkpoint.densify import PROMPT, split_masks
from modelzoo_mediswift.checkpoint.directory import Checkpoint
from modelzoo_mediswift.checkpoint.public_names import public, public_yaml
from modelzoo_mediswift.checkpoint.tensor_file import write_tensors
from modelzoo_mediswift.config.load import parse_config
from modelzoo_mediswift.config.model import ModelConfig
from modelzoo_mediswift.errors import UserError
from modelzoo_mediswift.sparsity.masking import MASK_SUFFIX
from modelzoo_mediswift.whole_files import flush, read_json, write_json

WEIGHTS_FILE = "model.safetensors"
CONFIG_FILE = "config.json"
ORIGIN_FILE = "mediswift.json"  # what a checkpoint knows and GPT-2's configuration does not
ORIGIN_DEFAULTS = {"num_virtual_tokens": 0, "step": 0, "data": {}, "versions": {}, "config": ""}
GPT2_ACTIVATION = "gelu"  # the exact one; GPT-2's default, gelu_new, is a tanh approximation

WORDS = "model.embedding_layer.word_embeddings.weight"
POSITIONS = "model.embedding_layer.position_embeddings.embed.weight"
FINAL_NORM = "model.ln_f"
QKV = ("proj_q_dense_layer", "proj_k_dense_layer", "proj_v_dense_layer")
NORMS = {"norm1": "ln_1", "norm3": "ln_2"}
LINEARS = {
    "self_attn.proj_output_dense_layer": "attn.c_proj",
    "ffn.ffn.0.linear_layer": "mlp.c_fc",
    "ffn.ffn.1.linear_layer": "mlp.c_proj",
}


def to_gpt2(tensors: Mapping[str, Tensor], origin: Path) -> dict[str, Tensor]:
    """GPT-2's tensors from a checkpoint's. Raises UserError for a masked weight that is not 0."""
    weights, masks = split_masks(tensors)
    for name, mask in masks.items():
        weight = name.removesuffix(MASK_SUFFIX)
        if weights[weight].masked_select(~mask.bool()).any():
            raise UserError(f"{origin}: {weight} has masked weights that are not zero")
    words = weights[WORDS]
    found = {"transformer.wte.weight": words, "transformer.wpe.weight": weights[POSITIONS]}
    if PROMPT in weights:
        prompt = weights[PROMPT]
        found["transformer.wte.weight"] = torch.cat((words, prompt))
        mean = words.double().mean(0).to(words.dtype)
        found["lm_head.weight"] = torch.cat((words, mean.expand_as(prompt)))
    for kind in ("weight", "bias"):
        found[f"transformer.ln_f.{kind}"] = weights[f"{FINAL_NORM}.{kind}"]
    for i in range(_num_layers(weights)):
        ours, theirs = f"model.transformer_decoder.layers.{i}", f"transformer.h.{i}"
        for kind in ("weight", "bias"):
            for norm, name in NORMS.items():
                found[f"{theirs}.{name}.{kind}"] = weights[f"{ours}.{norm}.{kind}"]
            parts = [weights[f"{ours}.self_attn.{name}.{kind}"] for name in QKV]
            found[f"{theirs}.attn.c_attn.{kind}"] = _turned(torch.cat(parts))
            for linear, name in LINEARS.items():
                found[f"{theirs}.{name}.{kind}"] = _turned(weights[f"{ours}.{linear}.{kind}"])
    return {name: tensor.contiguous() for name, tensor in found.items()}


def from_gpt2(tensors: Mapping[str, Tensor], num_virtual_tokens: int) -> dict[str, Tensor]:
    """A checkpoint's tensors from GPT-2's; the last rows of the vocabulary are virtual tokens."""
    table = tensors["transformer.wte.weight"]
    num_words = len(table) - num_virtual_tokens
    head = tensors.get("lm_head.weight")
    if head is not None and not torch.equal(head[:num_words], table[:num_words]):
        raise UserError("lm_head differs from the word embeddings; here the two are one tensor")
    found = {WORDS: table[:num_words], POSITIONS: tensors["transformer.wpe.weight"]}
    if num_virtual_tokens:
        found[PROMPT] = table[num_words:]
    for kind in ("weight", "bias"):
        found[f"{FINAL_NORM}.{kind}"] = tensors[f"transformer.ln_f.{kind}"]
    layers = sum(name.endswith(".attn.c_attn.weight") for name in tensors)
    for i in range(layers):
        ours, theirs = f"model.transformer_decoder.layers.{i}", f"transformer.h.{i}"
        for kind in ("weight", "bias"):
            for norm, name in NORMS.items():
                found[f"{ours}.{norm}.{kind}"] = tensors[f"{theirs}.{name}.{kind}"]
            merged = _turned(tensors[f"{theirs}.attn.c_attn.{kind}"])
            for name, part in zip(QKV, merged.chunk(3), strict=True):
                found[f"{ours}.self_attn.{name}.{kind}"] = part
            for linear, name in LINEARS.items():
                found[f"{ours}.{linear}.{kind}"] = _turned(tensors[f"{theirs}.{name}.{kind}"])
    return {name: tensor.contiguous() for name, tensor in found.items()}


def gpt2_config(model: ModelConfig, eos_id: int) -> dict[str, Any]:
    """GPT-2's config.json for one of our models."""
    return {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "vocab_size": model.vocab_size + model.num_virtual_tokens,
        "n_positions": model.max_position_embeddings,
        "n_embd": model.hidden_size,
        "n_layer": model.num_hidden_layers,
        "n_head": model.num_heads,
        "n_inner": model.filter_size,
        "activation_function": GPT2_ACTIVATION,
        "layer_norm_epsilon": model.layer_norm_epsilon,
        "resid_pdrop": model.dropout_rate,
        "embd_pdrop": model.embedding_dropout_rate or 0.0,
        "attn_pdrop": model.attention_dropout_rate or 0.0,
        "scale_attn_weights": True,
        "tie_word_embeddings": model.num_virtual_tokens == 0,
        "bos_token_id": eos_id,
        "eos_token_id": eos_id,
        "pad_token_id": eos_id,
        "torch_dtype": "float32",
    }


def write_weights(folder: Path, checkpoint: Checkpoint, origin: Path, eos_id: int) -> None:
    """Weights, configurations and what an import needs, into an existing folder."""
    model = parse_config(checkpoint.config, str(origin)).init.model
    tensors = {name: tensor.float() for name, tensor in to_gpt2(checkpoint.model, origin).items()}
    write_tensors(folder / WEIGHTS_FILE, tensors, metadata={"format": "pt"})
    virtual = range(model.vocab_size, model.vocab_size + model.num_virtual_tokens)
    generation: dict[str, Any] = {
        "bos_token_id": eos_id,
        "eos_token_id": eos_id,
        "pad_token_id": eos_id,
        "max_new_tokens": 64,
    }
    if virtual:
        generation["suppress_tokens"] = list(virtual)
    kept = {
        "num_virtual_tokens": model.num_virtual_tokens,
        "step": checkpoint.step,
        "data": public(checkpoint.data),
        "versions": checkpoint.versions,
        "config": public_yaml(checkpoint.config),
    }
    for name, content in (
        (CONFIG_FILE, gpt2_config(model, eos_id)),
        ("generation_config.json", generation),
        (ORIGIN_FILE, kept),
    ):
        write_json(folder / name, content)
    flush(folder / WEIGHTS_FILE)


def read_folder(folder: Path) -> Checkpoint:
    """The dense checkpoint in a Hugging Face folder of ours, or of another GPT-2 with exact GELU.

    Raises UserError for what our model could not compute.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    config = read_json(folder / CONFIG_FILE)
    kept = read_json(folder / ORIGIN_FILE) if (folder / ORIGIN_FILE).is_file() else {}
    _check_computable(config, folder)
    for key, default in ORIGIN_DEFAULTS.items():
        if not isinstance(kept.setdefault(key, default), type(default)):
            raise UserError(f"{folder / ORIGIN_FILE}: {key} is {kept[key]!r}")
    num_virtual = kept["num_virtual_tokens"]
    try:
        tensors = load_file(folder / WEIGHTS_FILE)
    except (OSError, SafetensorError) as error:
        raise UserError(f"{folder / WEIGHTS_FILE}: cannot be read ({error})") from error
    if "wte.weight" in tensors:  # as saved from the model without its head
        tensors = {f"transformer.{name}": tensor for name, tensor in tensors.items()}
    try:
        model = from_gpt2(tensors, num_virtual)
        text = kept["config"] or _minimal_yaml(config)
    except KeyError as error:
        raise UserError(f"{folder}: {error.args[0]} is missing") from error
    except UserError as error:
        raise UserError(f"{folder}: {error}") from error
    return Checkpoint(
        step=kept["step"],
        model=model,
        data=kept["data"],
        config=text,
        versions=kept["versions"],
    )


def _check_computable(config: Mapping[str, Any], folder: Path) -> None:
    wanted = {
        "model_type": ("gpt2", None),
        "activation_function": (GPT2_ACTIVATION, "gelu_new"),
        "scale_attn_weights": (True, True),
        "scale_attn_by_inverse_layer_idx": (False, False),
        "add_cross_attention": (False, False),
    }
    for key, (value, default) in wanted.items():
        found = config.get(key, default)
        if found != value:
            raise UserError(
                f"{folder / CONFIG_FILE}: {key} is {found!r}, but this model computes {value!r}"
            )


def _minimal_yaml(config: Mapping[str, Any]) -> str:
    """The model section alone, for a folder that does not say how it was trained."""
    model = {
        "name": "mediswift",
        "vocab_size": config["vocab_size"],
        "max_position_embeddings": config["n_positions"],
        "hidden_size": config["n_embd"],
        "num_hidden_layers": config["n_layer"],
        "num_heads": config["n_head"],
        "filter_size": config.get("n_inner") or 4 * config["n_embd"],
        "layer_norm_epsilon": config.get("layer_norm_epsilon", 1e-5),
        "dropout_rate": config.get("resid_pdrop", 0.1),
        "embedding_dropout_rate": config.get("embd_pdrop", 0.1),
        "attention_dropout_rate": config.get("attn_pdrop", 0.1),
    }
    text: str = yaml.safe_dump({"trainer": {"init": {"model": model}}}, sort_keys=False)
    return text


def _num_layers(weights: Mapping[str, Tensor]) -> int:
    return sum(name.endswith(f".{QKV[0]}.weight") for name in weights)


def _turned(tensor: Tensor) -> Tensor:
    """GPT-2 keeps (in, out) where torch.nn.Linear keeps (out, in); biases stay."""
    return tensor.T if tensor.dim() == 2 else tensor
