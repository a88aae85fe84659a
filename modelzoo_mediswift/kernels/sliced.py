"""Sparse matrices laid out for products with few tokens, as decoding has them."""

from __future__ import annotations

import ctypes

import torch
import torch.nn.functional as F
from torch import Tensor

from modelzoo_mediswift.kernels.library import Sliced, load_library

SLICE = 16  # rows that are computed side by side
FEW_TOKENS = 32  # up to here about as fast as a product with tiles


class SlicedMatrix:
    """An fp32 matrix (out, in) where a mask is True; how it is laid out, sliced.h says.

    It takes about 6 bytes a non-zero.
    """

    def __init__(self, weight: Tensor, mask: Tensor) -> None:
        assert weight.dtype == torch.float32
        assert mask.dtype == torch.bool
        assert mask.shape == weight.shape
        weight, mask = weight.detach().contiguous(), mask.contiguous()
        self.shape = (int(mask.shape[0]), int(mask.shape[1]))
        library, threads = load_library(), torch.get_num_threads()
        counts = torch.empty(-(-self.shape[0] // SLICE), dtype=torch.int64)
        _done(library.count_steps(threads, mask.data_ptr(), *self.shape, counts.data_ptr()))
        start = F.pad(counts.cumsum(0), (1, 0))
        steps = int(start[-1])
        window = torch.empty(steps, dtype=torch.int32)
        place = torch.empty(steps, SLICE, dtype=torch.uint8)
        values = torch.empty(steps, SLICE, dtype=torch.float32)
        self._parts = (start, window, place, values)
        self._matrix = Sliced(*self.shape, *(tensor.data_ptr() for tensor in self._parts))
        of_matrix = ctypes.byref(self._matrix)
        _done(library.fill_slices(threads, mask.data_ptr(), weight.data_ptr(), of_matrix))

    @property
    def num_bytes(self) -> int:
        return sum(tensor.nbytes for tensor in self._parts)

    def multiply(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """x (tokens, in) W^T + bias: (tokens, out), all fp32."""
        assert x.dtype == torch.float32
        assert x.shape[1:] == self.shape[1:]
        x = x.contiguous()
        y = x.new_empty(len(x), self.shape[0])
        library = load_library()
        library.multiply_slices(
            library.kernels(x.dtype),
            torch.get_num_threads(),
            ctypes.byref(self._matrix),
            None if bias is None else bias.data_ptr(),
            x.data_ptr(),
            y.data_ptr(),
            len(x),
        )
        return y


def _done(enough_memory: int) -> None:
    if not enough_memory:
        raise MemoryError("no memory for a sparse matrix")
