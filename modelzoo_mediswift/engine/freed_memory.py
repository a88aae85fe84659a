"""What a step on a CPU frees stays at hand for the next one, where there is room."""

import ctypes
import gc
import os
from typing import Any

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4  # mallopt's settings, from malloc.h
_NONE, _NEVER = 0, -1
# To give back: blocks of a megabyte and more at once, and what is free at the heap's end.
_BLOCKS, _LARGE, _TRIMMED = 65_536, 1 << 20, 2 << 20


def keep_freed_memory() -> bool:
    """Let the C library keep what is freed for this process; False where it is not glibc, or the
    environment has settings for it (`MALLOC_MMAP_MAX_=65536` is glibc's own).

    Logits and activations are freed and allocated anew in every step. glibc gives blocks above
    32 MiB back to the system at once, which then clears the next one page by page. A process that
    keeps them stays as large as it ever was, and somewhat larger for the holes between them.
    """
    library = _library()
    return bool(
        library and library.mallopt(_MMAP_MAX, _NONE) and library.mallopt(_TRIM_THRESHOLD, _NEVER)
    )


def give_back_freed_memory() -> bool:
    """Give the system what was kept, by an earlier run in this process, and keep nothing more."""
    gc.collect()
    library = _library()
    if library is None:
        return False
    library.mallopt(_MMAP_MAX, _BLOCKS)
    library.mallopt(_MMAP_THRESHOLD, _LARGE)
    library.mallopt(_TRIM_THRESHOLD, _TRIMMED)
    library.malloc_trim(0)
    return True


def _library() -> Any:
    """glibc, if its settings are ours to change."""
    if any(name.startswith("MALLOC_") for name in os.environ):
        return None
    try:
        library = ctypes.CDLL(None)
        return library if library.mallopt and library.malloc_trim else None
    except (AttributeError, OSError, TypeError):
        return None
