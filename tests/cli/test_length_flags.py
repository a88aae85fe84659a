"""How long a run is: flags on files that say it in another way, and schedules."""

import json
from pathlib import Path

import pytest

from modelzoo_mediswift.checkpoint.directory import load_checkpoint
from modelzoo_mediswift.cli.run import main
from modelzoo_mediswift.config.load import parse_config


@pytest.mark.parametrize(
    ("in_file", "flags", "steps", "said"),
    [
        # 50 sequences in batches of 4 without the rest: 12 steps an epoch.
        ("num_epochs: 5", ["--num_steps", "3"], 3, ["--num_steps 3 replaces num_epochs 5"]),
        ("num_steps: 5", ["--num_epochs", "1"], 12, ["--num_epochs 1 replaces num_steps 5"]),
        ("num_steps: 5", ["--max_steps", "2"], 2, ["--max_steps 2 replaces num_steps 5"]),
        ("num_steps: 5", ["--max_steps", "2", "--num_steps", "3"], 3, []),
        ("num_epochs: 5", ["--max_steps", "2"], 2, []),
        ("max_steps: 2", ["--num_steps", "3"], 3, []),
        ("num_epochs: null", ["--num_steps", "3"], 3, []),
    ],
)
def test_the_command_line_wins(
    in_file: str,
    flags: list[str],
    steps: int,
    said: list[str],
    run_files: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = Path("sparse.yaml").read_text()
    Path("sparse.yaml").write_text(text.replace("max_steps: 20", in_file))
    assert main(["CPU", "-p", "sparse.yaml", *flags]) == 0
    err = capsys.readouterr().err
    assert [line for line in err.splitlines() if "replaces" in line] == [
        f"{line} of the file" for line in said
    ]
    last = json.loads(Path("run/log.jsonl").read_text().splitlines()[-1])
    assert (last["event"], last["step"]) == ("end", steps)
    # What is saved is the run as it was, not as the file had it.
    loop = parse_config(load_checkpoint(Path(f"run/checkpoint_{steps}")).config).init.loop
    for flag, value in zip(flags[::2], flags[1::2], strict=True):
        assert getattr(loop, flag[2:]) == int(value)
    if said:
        assert getattr(loop, in_file.split(":")[0]) is None


def test_both_flags_exclude_each_other(run_files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["CPU", "-p", "sparse.yaml", "--num_steps", "3", "--num_epochs", "1"]) == 2
    assert "num_steps and num_epochs exclude each other" in capsys.readouterr().err
    assert not Path("run").exists()


def test_of_a_recipe_it_is_said_once(run_files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stage = Path("sparse.yaml").read_text().replace("max_steps: 20", "num_epochs: 1")
    stage = stage.replace("trainer:", "  - trainer:", 1).replace("\n  ", "\n      ")
    stages = [stage.replace("model_dir: run", f"model_dir: {name}") for name in "ab"]
    Path("recipe.yaml").write_text("trainer:\n" + "".join(stages))
    assert main(["CPU", "-p", "recipe.yaml", "--num_steps", "1"]) == 0
    assert capsys.readouterr().err.count("--num_steps 1 replaces num_epochs 1") == 1


@pytest.mark.parametrize(("steps", "told"), [("20", 0), ("21", 1)])
def test_a_schedule_that_ends_before_the_run(
    run_files: Path, capsys: pytest.CaptureFixture[str], steps: str, told: int
) -> None:
    for _ in range(2):  # the second start has nothing left to do
        assert main(["CPU", "-p", "sparse.yaml", "--max_steps", steps]) == 0
    said = capsys.readouterr().err
    assert said.count("schedulers: end at step") == told
    assert said.count("schedulers: end at step 20 of 21; from there") == told
