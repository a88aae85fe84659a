"""Where source, soft prompt and target stand in a sequence; used to train and to evaluate."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from modelzoo_mediswift.errors import UserError

PromptPosition = Literal["between", "before"]
"""Of the soft prompt: between source and target, as in the paper, or before the source."""
POSITIONS: tuple[PromptPosition, ...] = ("between", "before")
LAYOUT_KEY = "example_layout"
"""In data_params.json: {"prompt_position": ..., "include_long_answer": ...}."""


@dataclass(frozen=True)
class Layout:
    """[eos] source v1 .. vn target [eos], or [eos] v1 .. vn source target [eos]; what comes before
    `loss_start` is what an answer is given to."""

    tokens: tuple[int, ...]
    """At most max_sequence_length + 1, of which all but the last are the model's input."""
    loss_start: int
    """Index in `tokens` of the first one whose prediction counts: the target's first."""
    num_cut: int
    """Source tokens that found no room."""


def layout_example(
    source_ids: Sequence[int],
    target_ids: Sequence[int],
    num_virtual_tokens: int,
    vocab_size: int,
    eos_id: int,
    max_sequence_length: int,
    target_room: int | None = None,
    prompt_position: PromptPosition = "between",
) -> Layout:
    """Lay out one example (Luo et al. 2022, section 3.2); virtual tokens are ids >= `vocab_size`.

    A source that is too long is cut at its end, never the prompt or the target. `target_room` keeps
    that many positions for the target instead of its own length, so that several targets see the
    same source. Raises UserError if prompt and target alone do not fit.
    """
    if target_room is None:
        target_room = len(target_ids)
    room = max_sequence_length - 1 - num_virtual_tokens - target_room
    if room < 0 or len(target_ids) > target_room:
        raise UserError(
            f"max_sequence_length {max_sequence_length} has no room for {num_virtual_tokens} "
            f"virtual tokens and a target of {max(target_room, len(target_ids))}"
        )
    source = tuple(source_ids[:room])
    prompt = tuple(range(vocab_size, vocab_size + num_virtual_tokens))
    parts = (*source, *prompt) if prompt_position == "between" else (*prompt, *source)
    before = (eos_id, *parts)
    return Layout(
        tokens=(*before, *target_ids, eos_id),
        loss_start=len(before),
        num_cut=len(source_ids) - len(source),
    )


def layout_rows(
    layout: Layout, vocab_size: int, eos_id: int, max_sequence_length: int
) -> NDArray[np.int32]:
    """The int32 [3, MSL] of a layout: input ids, loss mask, labels, padded with eos.

    A label that would be a virtual token is 0; those positions do not count in the loss.
    """
    tokens = np.full(max_sequence_length + 1, eos_id, np.int32)
    tokens[: len(layout.tokens)] = layout.tokens
    rows = np.zeros((3, max_sequence_length), np.int32)
    rows[0] = tokens[:-1]
    rows[1, layout.loss_start - 1 : len(layout.tokens) - 1] = 1
    rows[2] = np.where(tokens[1:] < vocab_size, tokens[1:], 0)
    return rows
