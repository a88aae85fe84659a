from collections.abc import Iterator
from pathlib import Path

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
