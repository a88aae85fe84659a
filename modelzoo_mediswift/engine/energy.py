"""The energy that a device says it has used, where it says so."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path

POWERCAP = Path("/sys/class/powercap")
Counter = Callable[[], float]
"""Joules since some moment; a difference of two readings counts."""


class EnergyMeter:
    """Sums up what a counter gains; `read` must be called more often than the counter wraps."""

    def __init__(self, counter: Counter, source: str, wraps_at: float | None = None) -> None:
        self.source = source
        self._counter = counter
        self._wraps_at = wraps_at
        self._last = counter()
        self._joules = 0.0

    def read(self) -> float | None:
        """Joules since the meter was made; None if the device stopped telling."""
        try:
            now = self._counter()
        except (OSError, ValueError, RuntimeError):
            return None
        gained = now - self._last
        if gained < 0:
            if self._wraps_at is None:
                return None
            gained += self._wraps_at
        self._last = now
        self._joules += gained
        return self._joules


def energy_meters(device: str, powercap: Path = POWERCAP) -> list[EnergyMeter]:
    """Meters of what an engine's `device` (cpu, cuda) runs on: NVML's for a GPU, RAPL's for each
    processor package. Other programs on the same device are in their numbers."""
    meters = _packages(powercap)
    if device == "cuda":
        meters += _gpus()
    return meters


def _packages(powercap: Path) -> list[EnergyMeter]:
    """Intel's and AMD's running average power limit, one folder per package."""
    found = []
    for folder in sorted(powercap.glob("*-rapl:*")):
        if folder.name.count(":") != 1:  # a part of a package
            continue
        try:
            name = (folder / "name").read_text().strip()
            limit = int((folder / "max_energy_range_uj").read_text()) / 1e6
            found.append(EnergyMeter(_file_counter(folder / "energy_uj"), f"RAPL {name}", limit))
        except (OSError, ValueError):  # readable by root alone on many systems
            continue
    return found


def _file_counter(file: Path) -> Counter:
    return lambda: int(file.read_text()) / 1e6


def _gpus() -> list[EnergyMeter]:
    """The GPU that PyTorch calls current, by the library that comes with NVIDIA's driver."""
    import torch

    try:
        nvml = ctypes.CDLL("libnvidia-ml.so.1")
        uuid = str(torch.cuda.get_device_properties(torch.cuda.current_device()).uuid)
    except (OSError, AttributeError, RuntimeError):
        return []
    name = f"GPU-{uuid.removeprefix('GPU-')}".encode()
    device = ctypes.c_void_p()
    if nvml.nvmlInit_v2() or nvml.nvmlDeviceGetHandleByUUID(name, ctypes.byref(device)):
        return []

    def joules() -> float:
        millijoules = ctypes.c_ulonglong()
        error = nvml.nvmlDeviceGetTotalEnergyConsumption(device, ctypes.byref(millijoules))
        if error:
            raise RuntimeError(f"NVML error {error}")
        return millijoules.value / 1e3

    try:
        return [EnergyMeter(joules, "NVML")]
    except RuntimeError:  # before Volta, or a part of a GPU (MIG)
        return []
