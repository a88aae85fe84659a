import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelzoo_mediswift.errors import UserError
from modelzoo_mediswift.tasks.layout import layout_example, layout_rows

EOS, VOCAB = 0, 100


def test_hand_written() -> None:
    layout = layout_example([11, 12, 13], [21, 22], 2, VOCAB, EOS, 10)
    assert layout.tokens == (0, 11, 12, 13, 100, 101, 21, 22, 0)
    assert layout.loss_start == 6
    assert layout.num_cut == 0
    assert layout_rows(layout, VOCAB, EOS, 10).tolist() == [
        [0, 11, 12, 13, 100, 101, 21, 22, 0, 0],
        [0, 0, 0, 0, 0, 1, 1, 1, 0, 0],  # predicts 21, 22 and the closing end-of-text
        [11, 12, 13, 0, 0, 21, 22, 0, 0, 0],
    ]


def test_prompt_before_the_source() -> None:
    layout = layout_example([11, 12], [21], 2, VOCAB, EOS, 10, prompt_position="before")
    assert layout.tokens == (0, 100, 101, 11, 12, 21, 0)
    assert layout.loss_start == 5
    assert layout_rows(layout, VOCAB, EOS, 7).tolist() == [
        [0, 100, 101, 11, 12, 21, 0],
        [0, 0, 0, 0, 1, 1, 0],
        [0, 0, 11, 12, 21, 0, 0],
    ]


def test_long_source_is_cut_at_its_end() -> None:
    layout = layout_example(range(10, 20), [21, 22], 2, VOCAB, EOS, 8)
    assert layout.tokens == (0, 10, 11, 12, 100, 101, 21, 22, 0)
    assert layout.num_cut == 7
    assert layout_rows(layout, VOCAB, EOS, 8).shape == (3, 8)


def test_target_room_gives_all_targets_the_same_source() -> None:
    short = layout_example(range(10, 20), [21], 1, VOCAB, EOS, 8, target_room=3)
    long = layout_example(range(10, 20), [21, 22, 23], 1, VOCAB, EOS, 8, target_room=3)
    assert short.tokens[: short.loss_start] == long.tokens[: long.loss_start]


def test_what_has_no_room_is_cut_from_the_source_or_refused() -> None:
    assert layout_example([5], [21, 22], 5, VOCAB, EOS, 8).tokens[1] == 100  # source gone
    with pytest.raises(UserError, match="8 has no room for 6 virtual tokens and a target of 2"):
        layout_example([5], [21, 22], 6, VOCAB, EOS, 8)
    with pytest.raises(UserError, match="a target of 2"):
        layout_example([5], [21, 22], 1, VOCAB, EOS, 8, target_room=1)


@given(
    source=st.lists(st.integers(1, VOCAB - 1), max_size=30),
    target=st.lists(st.integers(1, VOCAB - 1), min_size=1, max_size=5),
    num_virtual_tokens=st.integers(0, 9),
    msl=st.integers(15, 40),
)
def test_rows_hold_the_layout(
    source: list[int], target: list[int], num_virtual_tokens: int, msl: int
) -> None:
    layout = layout_example(source, target, num_virtual_tokens, VOCAB, EOS, msl)
    inputs, mask, labels = layout_rows(layout, VOCAB, EOS, msl)
    assert labels[mask == 1].tolist() == [*target, EOS]
    at = np.flatnonzero(mask)
    assert inputs[at[1:]].tolist() == target
    kept = layout.loss_start - 1 - num_virtual_tokens
    assert inputs[1 : 1 + kept].tolist() == source[:kept]
    assert kept + layout.num_cut == len(source)
    assert inputs[1 + kept : layout.loss_start].tolist() == [
        VOCAB + i for i in range(num_virtual_tokens)
    ]
    assert labels.max() < VOCAB
    assert layout.num_cut == 0 or len(layout.tokens) == msl + 1  # cut no more than needed
