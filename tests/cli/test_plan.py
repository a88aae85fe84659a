import json
from importlib.metadata import version
from pathlib import Path

import pytest

from modelzoo_mediswift.cli.main import main
from modelzoo_mediswift.cli.run import main as run_py
from modelzoo_mediswift.config import yaml_file
from modelzoo_mediswift.plan.render import power

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


def test_a_sweep_is_planned_by_batch_size_and_as_a_whole(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Five epochs of 450 sequences, whatever the batch size."""
    file = str(PARAMS / "sweeps/pubmedqa_xl_s75.yaml")
    assert main(["plan", file, "--json"]) == 0
    plans = json.loads(capsys.readouterr().out)
    assert [(p["batch_size"], p["steps"], p["warmup_steps"]) for p in plans] == [
        (8, 280, 28),
        (16, 140, 14),
        (32, 70, 7),
        (64, 35, 4),
    ]
    assert {p["runs"] for p in plans} == {4 * 3}
    memory = [p["memory_bytes"]["activations"] for p in plans]
    assert memory[3] == 8 * memory[0], "whether the largest batch fits is what the user asks"
    assert main(["plan", file]) == 0
    out = capsys.readouterr().out
    whole = 12 * sum(p["flops"]["total"] for p in plans)
    assert (
        f"48 runs (4 batch sizes x 4 learning rates x 3 seeds): at most {power(whole)} FLOPs" in out
    )


def test_each_file_is_parsed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    parse, parsed = yaml_file.parse_yaml, []

    def noted(text: str, source: str, key: str) -> yaml_file.YamlDocument:
        parsed.append(source)
        return parse(text, source, key)

    monkeypatch.setattr(yaml_file, "parse_yaml", noted)
    monkeypatch.chdir(PARAMS.parent)
    trainer, sweep = "params/tiny_s75.yaml", "params/sweeps/pubmedqa_tiny.yaml"
    assert main(["plan", trainer, sweep]) == 0
    assert parsed == [trainer, sweep, "params/finetune/pubmedqa_recipe_tiny.yaml"]


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        ("", "base.yaml: a recipe of 3 stages; choose one (stage)"),
        ("  stage: 4\n", "sweep.stage: base.yaml has 3 stages, got 4"),
    ],
)
def test_a_sweep_of_a_stage_that_is_not_there(
    stage: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    base = PARAMS / "finetune/pubmedqa_recipe_tiny.yaml"
    Path("base.yaml").write_text(base.read_text())
    text = (PARAMS / "sweeps/pubmedqa_tiny.yaml").read_text()
    text = text.replace("./params/finetune/pubmedqa_recipe_tiny.yaml", "base.yaml")
    Path("sweep.yaml").write_text(text.replace("  stage: 3\n", stage))
    assert main(["plan", "sweep.yaml"]) == 2
    assert message in capsys.readouterr().err


def test_a_sweep_and_a_trainer_are_not_mixed_up(capsys: pytest.CaptureFixture[str]) -> None:
    sweep, trainer = PARAMS / "sweeps/pubmedqa_tiny.yaml", PARAMS / "tiny_s75.yaml"
    assert run_py(["CPU", "--params", str(sweep)]) == 2
    assert f"a sweep, where a trainer is expected; `mediswift sweep {sweep}`" in (
        capsys.readouterr().err
    )
    assert main(["sweep", str(trainer)]) == 2
    assert "a trainer's file, which run.py takes" in capsys.readouterr().err


def test_an_empty_sweep_is_told_its_own_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty.yaml").write_text("# nothing yet\n")
    assert main(["sweep", str(tmp_path / "empty.yaml")]) == 2
    assert "empty; expected a mapping with the key `sweep`" in capsys.readouterr().err
