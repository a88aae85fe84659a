"""What attention keeps of the tokens that a model has read."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

MORE = 4  # where tokens come one by one, a fourth as much room again is made for those to come


@dataclass
class _Room:
    """Keys and values (B, h, capacity, d/h), of which the first `used` are somebody's."""

    keys: Tensor
    values: Tensor
    used: int


@dataclass(frozen=True)
class KeyValues:
    """Keys and values of one layer for S tokens, each (B, h, S, d/h). They never change.

    Those of one more token go behind them into the same memory, where it is free: copying all for
    every token would take longer than attention does.
    """

    _room: _Room
    _length: int

    @staticmethod
    def of(keys: Tensor, values: Tensor) -> KeyValues:
        return KeyValues(_Room(keys, values, keys.shape[2]), keys.shape[2])

    @property
    def keys(self) -> Tensor:
        return self._room.keys[:, :, : self._length]

    @property
    def values(self) -> Tensor:
        return self._room.values[:, :, : self._length]

    def rows(self, index: Tensor) -> KeyValues:
        """Those of some of the sequences, in the order of `index`."""
        return KeyValues.of(self.keys[index], self.values[index])

    def extended(self, keys: Tensor, values: Tensor) -> KeyValues:
        """Followed by those of T more tokens, each (B, h, T, d/h), which have no gradient."""
        count = keys.shape[2]
        length, room = self._length + count, self._room
        if room.used > self._length or room.keys.shape[2] < length:
            room = self._copied(length + length // MORE if count == 1 else length)
        room.keys[:, :, self._length : length] = keys
        room.values[:, :, self._length : length] = values
        room.used = length
        return KeyValues(room, length)

    def _copied(self, capacity: int) -> _Room:
        keys, values = (_with_room(kept, capacity) for kept in (self.keys, self.values))
        return _Room(keys, values, self._length)


def _with_room(kept: Tensor, capacity: int) -> Tensor:
    batch, heads, length, width = kept.shape
    copy = kept.new_empty(batch, heads, capacity, width)
    copy[:, :, :length] = kept
    return copy
