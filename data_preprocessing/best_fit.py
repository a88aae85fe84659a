"""Best-fit packing: whole documents into sequences, so that few are cut, at the cost of padding."""

from collections import deque
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

OPEN_SEQUENCES = 4096
"""How many sequences wait for a document that fits; 8 MB at 1,024 tokens."""

Tokens = NDArray[np.integer]


def best_fit(
    documents: Iterable[Tokens], capacity: int, eos_id: int, open_sequences: int = OPEN_SEQUENCES
) -> Iterator[list[Tokens]]:
    """Yield the documents, each with end-of-text after it, in groups of `capacity` tokens or fewer.

    Each goes where it leaves the least room; of equal places, the one longest waiting. A document
    that is longer than a group is cut. When too many groups are open, the fullest is closed.
    """
    by_room: list[deque[list[Tokens]]] = [deque() for _ in range(capacity + 1)]
    rooms = 0  # bit r: there is a group with room for r tokens
    waiting = 0

    def take(room: int) -> list[Tokens]:
        nonlocal rooms, waiting
        group = by_room[room].popleft()
        if not by_room[room]:
            rooms &= ~(1 << room)
        waiting -= 1
        return group

    for piece in _pieces(documents, capacity, eos_id):
        fitting = rooms >> len(piece)
        room = len(piece) + _lowest_bit(fitting) if fitting else capacity
        group = take(room) if fitting else []
        group.append(piece)
        room -= len(piece)
        if room == 0:
            yield group
            continue
        by_room[room].append(group)
        rooms |= 1 << room
        waiting += 1
        if waiting > open_sequences:
            yield take(_lowest_bit(rooms))
    while rooms:
        yield take(_lowest_bit(rooms))


def pack_best_fit(
    documents: Iterable[Tokens], max_sequence_length: int, eos_id: int
) -> Iterator[NDArray[np.int32]]:
    """Samples int32 [3, MSL] of whole documents: input ids, loss mask, labels.

    A sample is end-of-text, then its documents; so every token is a label exactly once, as in
    `pack_documents`. What is left over is filled with end-of-text that does not count.
    """
    for group in best_fit(documents, max_sequence_length, eos_id):
        tokens = np.concatenate(group)
        sample = np.zeros((3, max_sequence_length), np.int32)
        sample[0] = sample[2] = eos_id
        sample[0, 1 : len(tokens)] = tokens[:-1]
        sample[1, : len(tokens)] = 1
        sample[2, : len(tokens)] = tokens
        yield sample


def _pieces(documents: Iterable[Tokens], capacity: int, eos_id: int) -> Iterator[Tokens]:
    for tokens in documents:
        if len(tokens):
            whole = np.append(tokens, np.array([eos_id], tokens.dtype))
            for start in range(0, len(whole), capacity):
                yield whole[start : start + capacity]


def _lowest_bit(number: int) -> int:
    return (number & -number).bit_length() - 1
