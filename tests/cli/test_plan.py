import json
from importlib.metadata import version
from pathlib import Path

import pytest

from modelzoo_mediswift.cli.main import main

PARAMS = Path(__file__).parents[2] / "params"

# Table 6, in units of 1e20; for large_s75 the formula's value, since the printed 1.840 contradicts
# the other two rows of its own size.
FLOPS = {
    "med_dense": 2.677,
    "med_s50": 1.727,
    "med_s75": 1.252,
    "large_dense": 4.248,
    "large_s50": 2.645,
    "large_s75": 1.843,
    "xl_dense": 9.148,
    "xl_s50": 5.348,
    "xl_s75": 3.448,
}


def test_json_reproduces_the_papers_table_6(capsys):
    files = [str(PARAMS / f"{name}.yaml") for name in FLOPS]
    assert main(["plan", *files, "--json"]) == 0
    plans = json.loads(capsys.readouterr().out)
    assert [Path(p["file"]).stem for p in plans] == list(FLOPS)
    for plan, expected in zip(plans, FLOPS.values(), strict=True):
        assert plan["flops"]["total"] / 1e20 == pytest.approx(expected, abs=0.0005)


def test_the_table_has_parameters_and_flops(capsys):
    assert main(["plan", str(PARAMS / "xl_s75.yaml")]) == 0
    out = capsys.readouterr().out
    assert "1,207,959,552" in out
    assert "3.448e20" in out


def test_missing_file(capsys):
    assert main(["plan", "nothing.yaml"]) == 2
    assert capsys.readouterr().err.startswith("error: nothing.yaml: ")


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"modelzoo-mediswift {version('modelzoo-mediswift')}\n"
