"""A checkpoint's model and tokenizer, as the commands that ask a model something need them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelzoo_mediswift.checkpoint.hf_tokenizer import END_OF_TEXT
from modelzoo_mediswift.errors import UserError
from modelzoo_mediswift.tasks.layout import LAYOUT_KEY, POSITIONS

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from modelzoo_mediswift.checkpoint.directory import Checkpoint
    from modelzoo_mediswift.config.trainer import TrainerConfig
    from modelzoo_mediswift.evaluation.predict import Text
    from modelzoo_mediswift.model.gpt3 import GPT3


def load_model(
    path: Path, device: str, precision: str = "float32", *, pack: bool = True
) -> tuple[GPT3, Checkpoint]:
    """The dense model of a checkpoint on the device, to be asked only, and the checkpoint itself.

    `precision`, float32 or bfloat16, is that of weights and arithmetic. Without `pack` its weights
    stay as they are, for who has another way to read them.
    """
    import torch

    from modelzoo_mediswift.build_model import build_model
    from modelzoo_mediswift.checkpoint.densify import load_dense
    from modelzoo_mediswift.checkpoint.directory import load_checkpoint
    from modelzoo_mediswift.engine.devices import find_device
    from modelzoo_mediswift.engine.freed_memory import keep_freed_memory
    from modelzoo_mediswift.model.packed import pack_linear_layers

    if device == "CPU":
        keep_freed_memory()
    checkpoint = load_checkpoint(path)
    model = build_model(config_of(checkpoint, path).init.model, seed=None)
    load_dense(model, checkpoint.model, path)
    model = model.to(find_device(device), getattr(torch, precision)).eval()
    if pack:
        pack_linear_layers(model)
    return model, checkpoint


def config_of(checkpoint: Checkpoint, path: Path) -> TrainerConfig:
    """The configuration that the checkpoint at `path` was trained with. Raises UserError where this
    version cannot read it."""
    from modelzoo_mediswift.checkpoint.directory import META_FILE
    from modelzoo_mediswift.config.load import parse_config

    return parse_config(checkpoint.config, str(path / META_FILE if path.is_dir() else path))


def read_tokenizer_file(
    path: Path, checkpoint: Checkpoint, origin: Path
) -> tuple[str, Tokenizer, int]:
    """tokenizer.json as text and as a tokenizer, if the checkpoint was trained with it, and the id
    of END_OF_TEXT."""
    from tokenizers import Tokenizer

    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from error
    trained = checkpoint.data.get("tokenizer_sha256")
    if trained and hashlib.sha256(content).hexdigest() != trained:
        raise UserError(f"{path}: not the tokenizer that {origin} was trained with")
    try:
        text = content.decode("utf-8")
        tokenizer = Tokenizer.from_str(text)
    except Exception as error:  # `tokenizers` raises nothing more specific
        raise UserError(f"{path}: not a tokenizer.json: {error}") from error
    largest, rows = max(tokenizer.get_vocab().values(), default=0), _words(checkpoint)
    if largest >= rows:
        raise UserError(
            f"{path}: has ids up to {largest}, the vocab_size of {origin} is {rows}: another "
            "vocabulary than the model's"
        )
    eos_id = tokenizer.token_to_id(END_OF_TEXT)
    if eos_id is None:
        raise UserError(f"{path}: has no {END_OF_TEXT}")
    tokenizer.encode_special_tokens = True  # in a text they are characters, as in training
    return text, tokenizer, eos_id


def trained_layout(checkpoint: Checkpoint, origin: Path) -> Mapping[str, Any]:
    """How the checkpoint's training data were laid out; empty where they tell nothing."""
    layout = checkpoint.data.get(LAYOUT_KEY) or {}
    if not isinstance(layout, Mapping) or layout.get("prompt_position", "between") not in POSITIONS:
        raise UserError(
            f"{origin}: {LAYOUT_KEY} of the data is {layout!r}, expected prompt_position to be "
            f"one of {', '.join(POSITIONS)}"
        )
    return layout


def _words(checkpoint: Checkpoint) -> int:
    """The vocabulary that the checkpoint has embeddings of."""
    return len(checkpoint.model["model.embedding_layer.word_embeddings.weight"])


def read_tokenizer(path: Path, checkpoint: Checkpoint, origin: Path) -> Text:
    """The tokenizer, if it is the one that the checkpoint was trained with."""
    from modelzoo_mediswift.evaluation.predict import Text

    _, tokenizer, eos_id = read_tokenizer_file(path, checkpoint, origin)
    return Text(
        lambda text: tokenizer.encode(text, add_special_tokens=False).ids,
        lambda ids: tokenizer.decode(ids),
        eos_id,
    )
