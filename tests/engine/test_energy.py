import ctypes
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from modelzoo_mediswift.engine.energy import EnergyMeter, energy_meters


def readings(*values: float) -> Iterator[float]:
    return iter(values)


def test_a_counter_that_wraps() -> None:
    values = readings(90.0, 95.0, 5.0, 25.0)
    meter = EnergyMeter(lambda: next(values), "package", wraps_at=100.0)
    assert [meter.read(), meter.read(), meter.read()] == [5.0, 15.0, 35.0]


def test_a_counter_that_is_gone_tells_nothing() -> None:
    def counter() -> float:
        if gone:
            raise OSError
        return 1.0

    gone = False
    meter = EnergyMeter(counter, "package")
    gone = True
    assert meter.read() is None


def package(powercap: Path, name: str, microjoules: str) -> Path:
    folder = powercap / name
    folder.mkdir(parents=True)
    (folder / "name").write_text("package-0\n")
    (folder / "max_energy_range_uj").write_text("262143328850\n")
    (folder / "energy_uj").write_text(microjoules)
    return folder / "energy_uj"


def test_packages_are_read_and_their_parts_are_not(tmp_path: Path) -> None:
    energy = package(tmp_path, "intel-rapl:0", "1000000\n")
    package(tmp_path, "intel-rapl:0:0", "7000000\n")
    package(tmp_path, "intel-rapl:1", "nothing\n")
    (meter,) = energy_meters("cpu", tmp_path)
    energy.write_text("3500000\n")
    assert meter.source == "RAPL package-0"
    assert meter.read() == 2.5


def test_no_counters_no_meters(tmp_path: Path) -> None:
    assert energy_meters("cpu", tmp_path / "missing") == []


UUID = "0a1b2c3d-0000-1111-2222-333344445555"  # as PyTorch writes it; NVML's begins with GPU-
NOT_SUPPORTED = 3


class Nvml:
    """NVIDIA's library as it is called, with a GPU that has used 5 J at first and 2.5 more then."""

    def __init__(self, error: int = 0) -> None:
        self.error = error
        self.millijoules = 5000

    def nvmlInit_v2(self) -> int:  # noqa: N802
        return 0

    def nvmlDeviceGetHandleByUUID(self, uuid: bytes, device: Any) -> int:  # noqa: N802
        device._obj.value = 7
        return 0 if uuid == f"GPU-{UUID}".encode() else 6

    def nvmlDeviceGetTotalEnergyConsumption(self, device: Any, used: Any) -> int:  # noqa: N802
        assert device.value == 7
        used._obj.value = self.millijoules
        self.millijoules += 2500
        return self.error


@pytest.mark.parametrize(("error", "uuid"), [(0, UUID), (0, "another"), (NOT_SUPPORTED, UUID)])
def test_a_gpu_is_read_by_its_driver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int, uuid: str
) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: Nvml(error))
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    properties = SimpleNamespace(uuid=uuid)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
    meters = energy_meters("cuda", tmp_path)
    assert [(m.source, m.read()) for m in meters] == (
        [] if error or uuid != UUID else [("NVML", 2.5)]
    )


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a driver")
def test_no_driver_no_meter(tmp_path: Path) -> None:
    assert energy_meters("cuda", tmp_path) == []
