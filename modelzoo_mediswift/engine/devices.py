"""The device that this process shall use, or one line that says why there is none."""

from __future__ import annotations

import os
import warnings

import torch

from modelzoo_mediswift.errors import UserError

VISIBLE = "CUDA_VISIBLE_DEVICES"


def find_device(name: str, number: int | None = None) -> torch.device:
    """The device for Model Zoo's CPU or GPU; `number` picks one of several GPUs. Raises UserError
    where it cannot be used."""
    return find_gpu(number) if name == "GPU" else torch.device("cpu")


def find_gpu(number: int | None = None) -> torch.device:
    """The current GPU, or the one of this `number`."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        available = torch.cuda.is_available()
    if not available:
        reason = _why_none([str(warning.message) for warning in said])
        raise UserError(f"GPU: PyTorch finds no CUDA device here ({reason}); use CPU")
    count = torch.cuda.device_count()
    if number is not None and number >= count:
        raise UserError(
            f"GPU: torchrun started process {number} of this machine, which has {count} GPUs; "
            "lower --nproc_per_node"
        )
    device = torch.device("cuda") if number is None else torch.device("cuda", number)
    try:
        torch.zeros(1, device=device)
    except RuntimeError as error:  # in use by others, or too old or new for this build
        raise UserError(f"GPU: {device} cannot be used: {_one_line(str(error))}") from error
    return device


def gpu_of_worker(number: int) -> dict[str, str]:
    """What the environment must say for worker `number` of this machine, from 0 on, to have a GPU
    that the others do not use, as far as there are enough. The first one's is PyTorch's default."""
    visible = os.environ.get(VISIBLE, "")
    names = visible.split(",") if visible else [str(i) for i in range(torch.cuda.device_count())]
    return {VISIBLE: names[number % len(names)].strip()} if names else {}


def _why_none(warned: list[str]) -> str:
    if torch.version.cuda is None and torch.version.hip is None:
        return f"torch {torch.__version__} is built without CUDA"
    if warned:  # a driver that is too old
        return _one_line(warned[0])
    visible = os.environ.get(VISIBLE)
    if visible is not None:
        return f"{VISIBLE} is {visible!r}"
    return "no NVIDIA driver, or no GPU behind it"


def _one_line(text: str) -> str:
    """The first line of PyTorch's message, without the place in its sources."""
    return text.partition("\n")[0].partition(" (Triggered internally")[0].strip().rstrip(".")
