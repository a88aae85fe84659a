"""A tokenizer.json that transformers loads and that encodes as ours does, with the soft prompt.

Virtual tokens are added as ordinary words `<|prompt_1|>` ... with the ids that the model gives
them, so that a prompt can be written in a text. `<|endoftext|>` in a text stays the characters it
is, as in training (`split_special_tokens`): a document cannot forge its own end.
"""

from __future__ import annotations

import json
from typing import Any

END_OF_TEXT = "<|endoftext|>"


def prompt_token(number: int) -> str:
    """How the virtual token `number`, from 1, is written."""
    return f"<|prompt_{number}|>"


def with_prompt_tokens(content: str, vocab_size: int, num_virtual_tokens: int) -> str:
    """tokenizer.json with the virtual tokens as ids `vocab_size` and up; unchanged if none."""
    if num_virtual_tokens == 0:
        return content
    tokenizer = json.loads(content)
    for i in range(num_virtual_tokens):
        # In the vocabulary, because there an id need not be the next free one.
        tokenizer["model"]["vocab"][prompt_token(i + 1)] = vocab_size + i
        tokenizer["added_tokens"].append(
            {
                "id": vocab_size + i,
                "content": prompt_token(i + 1),
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": False,
            }
        )
    return _dumped(tokenizer)


def without_prompt_tokens(content: str, num_virtual_tokens: int) -> str:
    """The inverse of `with_prompt_tokens`."""
    if num_virtual_tokens == 0:
        return content
    tokenizer = json.loads(content)
    names = {prompt_token(i + 1) for i in range(num_virtual_tokens)}
    for name in names:
        tokenizer["model"]["vocab"].pop(name, None)
    kept = [token for token in tokenizer["added_tokens"] if token["content"] not in names]
    tokenizer["added_tokens"] = kept
    return _dumped(tokenizer)


def tokenizer_settings(max_length: int) -> dict[str, dict[str, Any]]:
    """What stands beside tokenizer.json, by file name."""
    special = {f"{role}_token": END_OF_TEXT for role in ("bos", "eos", "pad")}
    return {
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": max_length,
            "clean_up_tokenization_spaces": False,
            "split_special_tokens": True,
            "padding_side": "left",
            "add_prefix_space": False,
            **special,
        },
        "special_tokens_map.json": special,
    }


def _dumped(tokenizer: dict[str, Any]) -> str:
    """As the tokenizers library writes it."""
    return json.dumps(tokenizer, indent=2, ensure_ascii=False)
