"""What a step on a CPU frees stays at hand for the next one."""

import ctypes
import os

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # the names of mallopt's settings in malloc.h
_NONE, _NEVER = 0, -1


def keep_freed_memory() -> bool:
    """Let the C library keep what is freed for this process; False where it is not glibc, or the
    environment has settings for it (`MALLOC_MMAP_MAX_=65536` is glibc's own).

    Logits and activations are freed and allocated anew in every step. glibc gives blocks above
    32 MiB back to the system at once, which then clears the next one page by page. A process that
    keeps them stays as large as it ever was, and somewhat larger for the holes between them.
    """
    if any(name.startswith("MALLOC_") for name in os.environ):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return bool(mallopt(_MMAP_MAX, _NONE) and mallopt(_TRIM_THRESHOLD, _NEVER))
