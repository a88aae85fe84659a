import shutil
from pathlib import Path

from modelzoo_mediswift.cli.run import main


def test_a_run_clears_away_what_a_killed_one_left(run_files):
    command = ["CPU", "-p", "sparse.yaml", "--max_steps"]
    assert main([*command, "5"]) == 0
    for name in (".checkpoint_4.writing", ".checkpoint_3.deleting", ".checkpoint_5.replaced"):
        shutil.copytree("run/checkpoint_5", f"run/{name}")
    for name in (".run_record.json.0a1b2c3d.writing", ".tmpA1b2C3"):
        Path("run", name).write_text("{")
    kept = [".notes", ".table.json.0a1b2c3d.writing"]  # may be another command's at work
    for name in kept:
        Path("run", name).touch()
    assert main([*command, "6"]) == 0
    assert sorted(p.name for p in Path("run").glob(".*")) == kept
