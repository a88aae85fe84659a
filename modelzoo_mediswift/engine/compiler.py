"""Whether PyTorch's compiler works here: on a GPU it needs Triton, a C compiler, Python's headers
and a folder that it may write."""

from __future__ import annotations

import sys
from functools import cache
from subprocess import SubprocessError

import torch

from modelzoo_mediswift.errors import UserError

# What a broken compiler raises: by itself, in its imports and programs, or writing its files.
FAILURES = (RuntimeError, ImportError, SubprocessError, OSError)


def use_compiler(asked: bool | None, device: torch.device, *, speaks: bool = True) -> bool:
    """What the file says; where it says nothing, on a GPU if the compiler works there.

    Where it does not, `speaks` says so in one line. Raises UserError where the file insists.
    """
    if asked is None and device.type != "cuda":
        return False
    if asked is False:
        return False
    problem = compiler_problem(device)
    if problem is None:
        return True
    if asked:
        raise UserError(f"trainer.init.backend.compile: torch.compile fails here: {problem}")
    if speaks:
        _tell(problem)
    return False


@cache
def _tell(problem: str) -> None:
    """Say so, once per problem."""
    print(
        f"running without torch.compile, which takes longer; it fails here: {problem}",
        file=sys.stderr,
    )


@cache
def compiler_problem(device: torch.device) -> str | None:
    """Why a program of one operation does not compile and run on the device; None if it does."""
    try:
        torch.compile(_twice, fullgraph=True)(torch.ones(8, device=device))
    except FAILURES as error:
        return _first_reason(str(error)) or type(error).__name__
    return None


def _twice(x: torch.Tensor) -> torch.Tensor:
    return x * 2


def _first_reason(message: str) -> str:
    """The line of PyTorch's message that says what is wrong, without who called whom."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    return next((line for line in lines if not line.startswith("backend=")), "")
