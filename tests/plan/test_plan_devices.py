import json
from collections.abc import Callable
from typing import Any

import pytest

from modelzoo_mediswift.cli.main import main
from modelzoo_mediswift.plan.devices import ASSUMED, DEVICES, MEASURED, estimate
from modelzoo_mediswift.plan.plan import make_plan

Make = Callable[..., Any]
MED = "params/med_s75.yaml"


def test_palm_flops_by_hand(config: Make) -> None:
    """2 layers, d = 4, 384 weights, 10 words, sequences of 5."""
    assert make_plan(config()).palm_flops_per_token == 6 * (384 + 40) + 12 * 2 * 5 * 4


def test_time_and_energy_by_hand(config: Make) -> None:
    plan = make_plan(config(loop={"max_steps": 20}))  # 300 tokens of 3024 FLOPs
    found = estimate(plan, "A100", 2, utilisation=0.5, watts=100.0)
    assert found.tokens_per_second == pytest.approx(2 * 0.5 * 312e12 / 3024)
    assert found.seconds == pytest.approx(300 / found.tokens_per_second)
    assert found.kwh == pytest.approx(200 * found.seconds / 3.6e6)
    assert found.source == ASSUMED


def test_a_measured_speed_replaces_the_assumption(config: Make) -> None:
    plan = make_plan(config(loop={"max_steps": 20}))
    found = estimate(plan, "H100", 3, tokens_per_second=10.0)
    assert (found.tokens_per_second, found.seconds, found.source) == (30.0, 10.0, MEASURED)


def test_masks_save_no_time_on_a_gpu(config: Make, block: type) -> None:
    settings = {"loop": {"max_steps": 20}}
    sparse = make_plan(config(sparsity=(block(0.75),), **settings))
    assert estimate(sparse).seconds == estimate(make_plan(config(**settings))).seconds


def test_open_length_has_a_speed_and_no_time(config: Make) -> None:
    found = estimate(make_plan(config(fit=None)))
    assert found.tokens_per_second > 0
    assert (found.seconds, found.days, found.kwh) == (None, None, None)


@pytest.mark.parametrize("name", sorted(DEVICES))
def test_every_device_is_plausible(name: str) -> None:
    device = DEVICES[name]
    assert 1e13 < device.peak < 1e16
    assert 0 < device.utilisation < 1
    assert 50 < device.watts < 2000


def test_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", MED, "--json", "--device", "A100", "--devices", "8"]) == 0
    time = json.loads(capsys.readouterr().out)[0]["time"]
    assert (time["device"], time["count"], time["source"]) == ("A100", 8, ASSUMED)
    assert main(["plan", MED]) == 0
    assert "Time: days, 1 x H100" in capsys.readouterr().out


def test_unknown_device_and_share_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", MED, "--device", "TPU"]) == 2
    assert "unknown 'TPU' (known: B200, H200" in capsys.readouterr().err
    assert main(["plan", MED, "--mfu", "45"]) == 2
    assert "expected a share in (0, 1], got 45.0" in capsys.readouterr().err
