"""The compiled kernels, if this installation has them and this processor can run them."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from modelzoo_mediswift.errors import UserError

INSTRUCTION_SETS = ("portable", "AVX2", "AVX-512", "AVX-512-BF16", "AMX")
_FP32 = INSTRUCTION_SETS.index("AVX-512")  # the best that has kernels for fp32
_BF16 = INSTRUCTION_SETS.index("AVX-512-BF16")  # the first for bf16; AMX adds attention's
_AMX = INSTRUCTION_SETS.index("AMX")
INSTRUCTIONS_VARIABLE = "MEDISWIFT_INSTRUCTIONS"  # to run with less than the processor has

_INT, _LONG, _POINTER = ctypes.c_int, ctypes.c_int64, ctypes.c_void_p
_ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "make_list": (_POINTER, _LONG, _LONG, _POINTER, _POINTER),
    "turn_list": (_POINTER, _POINTER, _POINTER, _POINTER),
    "move": (_POINTER, _LONG, _LONG, *[_POINTER] * 3, _INT),
    "multiply": (_INT, _INT, *[_POINTER] * 5, _LONG),
    "gradient": (_INT, _INT, *[_POINTER] * 4, _LONG),
    "arrange": (_INT, _INT, *[_POINTER] * 3),
    "token_sums": (_INT, _POINTER, _LONG, _LONG, _POINTER),
    "pack": (_INT, _INT, _POINTER, _INT, _LONG, _LONG, _POINTER),
    "unpack": (_INT, _INT, _POINTER, _INT, _LONG, _LONG, _POINTER),
    "multiply_slices": (_INT, _INT, *[_POINTER] * 4, _LONG),
}
# 0 where memory ran out.
_MEMORY_ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "count_steps": (_INT, _POINTER, _LONG, _LONG, _POINTER),
    "fill_slices": (_INT, _POINTER, _POINTER, _POINTER),
}
# Only with AVX-512, as attention is.
_AVX512_ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "transpose": (_INT, _POINTER, _LONG, _LONG, _LONG, _POINTER),
    "cross_entropy": (_INT, _INT, _POINTER, _LONG, _LONG, _POINTER, _POINTER),
}
# The same; 0 where memory ran out.
_ATTENTION_ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "causal_attention": (_INT, _INT, *[_POINTER] * 6),
    "causal_attention_gradients": (_INT, _INT, *[_POINTER] * 10),
}


class List(ctypes.Structure):
    """`sparse_list` of sparse_linear.h."""

    _fields_ = (
        ("rows", _LONG),
        ("cols", _LONG),
        ("start", _POINTER),
        ("offset", _POINTER),
        ("place", _POINTER),
        ("value_start", _POINTER),
    )


class Sliced(ctypes.Structure):
    """`sliced_matrix` of sliced.h."""

    _fields_ = (
        ("rows", _LONG),
        ("cols", _LONG),
        ("start", _POINTER),
        ("window", _POINTER),
        ("place", _POINTER),
        ("values", _POINTER),
    )


class AttentionShape(ctypes.Structure):
    """`attention_shape` of attention.h."""

    _fields_ = (("batch", _LONG), ("length", _LONG), ("heads", _LONG), ("width", _LONG))


class Library:
    """The functions of the C sources, with the instruction set that this processor has."""

    def __init__(self, path: Path) -> None:
        library = ctypes.CDLL(str(path))
        best = library["mediswift_best_instructions"]()
        self.instructions = min(best, _wanted_instructions())
        self._functions: dict[str, Any] = {}
        self._load(library, _ARGUMENTS, None)
        self._load(library, _MEMORY_ARGUMENTS, _INT)
        if self.has_avx512:
            self._load(library, _AVX512_ARGUMENTS, None)
            self._load(library, _ATTENTION_ARGUMENTS, _INT)

    def _load(
        self, library: ctypes.CDLL, arguments: Mapping[str, tuple[Any, ...]], result: Any
    ) -> None:
        for name, types in arguments.items():
            function = library[f"mediswift_{name}"]
            function.argtypes = list(types)
            function.restype = result
            self._functions[name] = function

    def __getattr__(self, name: str) -> Any:
        return self._functions[name]

    @property
    def multiplies_bf16(self) -> bool:
        return self.instructions >= _BF16

    @property
    def has_avx512(self) -> bool:
        """Then it has attention of fp32, and of bf16 where it multiplies bf16 too; and the loss."""
        return self.instructions >= _FP32

    @property
    def has_amx_attention(self) -> bool:
        """Of bf16; sparse products have no use for AMX."""
        return self.instructions >= _AMX

    def kernels(self, dtype: torch.dtype) -> int:
        """The number of the kernels whose tiles hold this type."""
        if dtype == torch.bfloat16:
            assert self.multiplies_bf16
            return _BF16
        return min(self.instructions, _FP32)

    def attention(self, dtype: torch.dtype) -> int:
        """The number of attention's kernels for this type; raises TypeError where it has none."""
        if dtype == torch.float32 and self.has_avx512:
            return _FP32
        if dtype == torch.bfloat16 and self.multiplies_bf16:
            return self.instructions
        raise TypeError(f"no attention in {dtype} with {self.description}")

    @property
    def description(self) -> str:
        """Of sparse products."""
        return INSTRUCTION_SETS[min(self.instructions, _BF16)]


@cache
def load_library() -> Library:
    """The library; raises UserError that says how to get it where it is not compiled."""
    for suffix in EXTENSION_SUFFIXES:
        path = Path(__file__).with_name(f"_sparse_linear{suffix}")
        if path.is_file():
            try:
                return Library(path)
            except (OSError, AttributeError) as error:  # the latter: compiled from older sources
                raise UserError(f"the sparse kernels cannot be loaded: {error}") from error
    raise UserError(
        "the sparse kernels are not compiled: no C compiler was found when this package was "
        "installed; install one (such as gcc) and install the package again"
    )


def is_available() -> bool:
    """Whether `load_library` gives a library here."""
    try:
        load_library()
    except UserError:
        return False
    return True


def can_read(*tensors: Tensor | None) -> bool:
    """Whether AVX-512 kernels may read these tensors' memory: plain ones on a CPU, which no
    compiler looks at."""
    return (
        not torch.compiler.is_compiling()
        and all(
            type(x) in (Tensor, Parameter) and x.device.type == "cpu"
            for x in tensors
            if x is not None
        )
        and is_available()
        and load_library().has_avx512
    )


@cache
def pytorch_has_tiles() -> bool:
    """Whether PyTorch's products in bf16 may use AMX's tiles; torch 2.4 does not say."""
    ask = getattr(torch.cpu, "_init_amx", None)
    return ask is not None and bool(ask())


def _wanted_instructions() -> int:
    name = os.environ.get(INSTRUCTIONS_VARIABLE)
    if name is None:
        return len(INSTRUCTION_SETS) - 1
    if name not in INSTRUCTION_SETS:
        raise UserError(
            f"{INSTRUCTIONS_VARIABLE}: expected one of {', '.join(INSTRUCTION_SETS)}, got {name}"
        )
    return INSTRUCTION_SETS.index(name)
