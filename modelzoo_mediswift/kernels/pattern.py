"""Where a matrix has its non-zeros, as lists that the kernels walk."""

from __future__ import annotations

import ctypes
from functools import cached_property

import torch
from torch import Tensor

from modelzoo_mediswift.kernels.library import List, load_library

TILE = 128  # tokens that are computed side by side
BLOCK = 64  # columns (or rows of the transpose) of one list part

_MOST_NON_ZEROS = 2**32 - 1


class Pattern:
    """The non-zeros of a mask (out, in) and, for training, of its transpose.

    Values stand in the order of [block of 64 inputs][output][input].
    """

    def __init__(self, mask: Tensor) -> None:
        assert mask.dtype == torch.bool
        assert mask.dim() == 2
        mask = mask.contiguous()
        self.shape = (int(mask.shape[0]), int(mask.shape[1]))
        rows, cols = self.shape
        self.count = int(mask.count_nonzero())
        assert self.count < _MOST_NON_ZEROS
        self._start = _starts(rows, cols)
        self._offset = torch.empty(self.count + 1, dtype=torch.uint8)
        load_library().make_list(
            mask.data_ptr(), rows, cols, self._start.data_ptr(), self._offset.data_ptr()
        )
        self.list = List(rows, cols, self._start.data_ptr(), self._offset.data_ptr())

    @cached_property
    def _turned(self) -> tuple[Tensor, Tensor, Tensor]:
        """Starts, offsets and places of the transposed matrix's list, made when first asked for:
        only a gradient needs it."""
        turned = (
            _starts(*reversed(self.shape)),
            torch.empty(self.count, dtype=torch.uint8),
            torch.empty(self.count, dtype=torch.int16),
        )
        pointers = (tensor.data_ptr() for tensor in turned)
        load_library().turn_list(ctypes.byref(self.list), *pointers)
        return turned

    @property
    def turned(self) -> List:
        rows, cols = self.shape
        pointers = (tensor.data_ptr() for tensor in self._turned)
        return List(cols, rows, *pointers, self._start.data_ptr())

    @property
    def num_bytes(self) -> int:
        """What the lists take in training."""
        return sum(tensor.nbytes for tensor in (self._start, self._offset, *self._turned))

    def compress(self, dense: Tensor) -> Tensor:
        """The values (count,) of a dense fp32 matrix at the non-zeros."""
        assert dense.shape == self.shape
        dense = dense.detach().contiguous()
        values = torch.empty(self.count, dtype=torch.float32)
        self._move(dense, values, spread=False)
        return values

    def expand(self, values: Tensor) -> Tensor:
        """The dense matrix; zero where there is no value."""
        dense = torch.zeros(self.shape, dtype=torch.float32)
        self._move(dense, values.detach().contiguous(), spread=True)
        return dense

    def _move(self, dense: Tensor, values: Tensor, *, spread: bool) -> None:
        assert dense.dtype == values.dtype == torch.float32
        assert values.shape == (self.count,)
        load_library().move(
            dense.data_ptr(),
            *self.shape,
            self._start.data_ptr(),
            self._offset.data_ptr(),
            values.data_ptr(),
            spread,
        )

    def multiply(self, values: Tensor, bias: Tensor | None, packed: Tensor) -> Tensor:
        """Packed W x + bias, for packed x (tiles, in, 128).

        Values and bias are fp32, and rounded first where x is bf16; the result is of x's type.
        """
        result = packed.new_empty(packed.shape[0], self.shape[0], TILE)
        self._multiply(self.list, values, bias, packed, result)
        return result

    def multiply_transposed(self, values: Tensor, packed: Tensor) -> Tensor:
        """Packed W^T y, for packed y (tiles, out, 128)."""
        result = packed.new_empty(packed.shape[0], self.shape[1], TILE)
        self._multiply(self.turned, values, None, packed, result)
        return result

    def gradient(self, out: Tensor, packed: Tensor) -> Tensor:
        """The sum over tokens of out x^T at the non-zeros, in fp32, for packed `out` and x."""
        assert out.dtype == packed.dtype
        make = torch.empty if len(packed) else torch.zeros
        result = make(self.count, dtype=torch.float32)
        library = load_library()
        library.gradient(
            library.kernels(packed.dtype),
            torch.get_num_threads(),
            ctypes.byref(self.list),
            out.data_ptr(),
            packed.data_ptr(),
            result.data_ptr(),
            len(packed),
        )
        return result

    def _multiply(
        self, of: List, values: Tensor, bias: Tensor | None, packed: Tensor, result: Tensor
    ) -> None:
        library = load_library()
        if packed.dtype == torch.bfloat16 or of is not self.list:
            values = self._arranged(of, values, packed.dtype)
        if packed.dtype == torch.bfloat16 and bias is not None:
            bias = bias.bfloat16().float()
        library.multiply(
            library.kernels(packed.dtype),
            torch.get_num_threads(),
            ctypes.byref(of),
            values.data_ptr(),
            None if bias is None else bias.data_ptr(),
            packed.data_ptr(),
            result.data_ptr(),
            len(packed),
        )

    def _arranged(self, of: List, values: Tensor, dtype: torch.dtype) -> Tensor:
        """The values in the order of a list."""
        arranged = torch.empty(self.count, dtype=dtype)
        library = load_library()
        library.arrange(
            library.kernels(dtype),
            torch.get_num_threads(),
            ctypes.byref(of),
            values.data_ptr(),
            arranged.data_ptr(),
        )
        return arranged


def _starts(rows: int, cols: int) -> Tensor:
    """Room for where each row's part of each block of columns begins, and for the end."""
    return torch.empty(-(-cols // BLOCK) * rows + 1, dtype=torch.int32)


def pack(rows: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Rows of tokens (..., features), fp32 or bf16, as tiles (tiles, features, 128).

    `dtype` is that of the tiles: bf16 only where the library multiplies it.
    """
    features = rows.shape[-1]
    rows = rows.contiguous()
    tokens = rows.numel() // features
    packed = torch.empty(-(-tokens // TILE), features, TILE, dtype=dtype)
    library = load_library()
    library.pack(
        library.kernels(dtype),
        torch.get_num_threads(),
        rows.data_ptr(),
        _is_bf16(rows.dtype),
        tokens,
        features,
        packed.data_ptr(),
    )
    return packed


def unpack(packed: Tensor, shape: torch.Size | tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Tiles as rows of tokens of the shape (..., features)."""
    packed = packed.contiguous()
    rows = torch.empty(shape, dtype=dtype)
    features = packed.shape[1]
    assert rows.shape[-1] == features
    library = load_library()
    library.unpack(
        library.kernels(packed.dtype),
        torch.get_num_threads(),
        packed.data_ptr(),
        _is_bf16(dtype),
        rows.numel() // features,
        features,
        rows.data_ptr(),
    )
    return rows


def token_sums(packed: Tensor) -> Tensor:
    """The sum over tokens of each feature, in fp32."""
    if packed.dtype == torch.float32:
        return packed.sum((0, 2))
    sums = torch.empty(packed.shape[1], dtype=torch.float32)
    library = load_library()
    library.token_sums(
        library.kernels(packed.dtype),
        packed.data_ptr(),
        len(packed),
        packed.shape[1],
        sums.data_ptr(),
    )
    return sums


def _is_bf16(dtype: torch.dtype) -> bool:
    assert dtype in (torch.float32, torch.bfloat16)
    return dtype == torch.bfloat16
