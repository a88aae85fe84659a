import os
import shutil
from pathlib import Path

import torch

from modelzoo_mediswift.checkpoint.revival import REVIVED_FILE, Revival
from modelzoo_mediswift.cli.run import main


def test_a_run_clears_away_what_a_killed_one_left(run_files):
    command = ["CPU", "-p", "sparse.yaml", "--max_steps"]
    assert main([*command, "5"]) == 0
    for name in (".checkpoint_4.writing", ".checkpoint_3.deleting", ".checkpoint_5.replaced"):
        shutil.copytree("run/checkpoint_5", f"run/{name}")
    for name in (".run_record.json.0a1b2c3d.writing", f".{REVIVED_FILE}.writing"):
        Path("run", name).write_text("{")
    kept = [".notes", ".table.json.0a1b2c3d.writing"]  # may be another command's at work
    for name in kept:
        Path("run", name).touch()
    assert main([*command, "6"]) == 0
    assert sorted(p.name for p in Path("run").glob(".*")) == kept


def test_revived_places_are_replaced_whole(tmp_path):
    """Other processes of the run may be reading them."""
    Revival({"w": torch.zeros(8, dtype=torch.bool)}).save(tmp_path)
    os.link(tmp_path / REVIVED_FILE, tmp_path / "read")
    before = (tmp_path / "read").read_bytes()
    Revival({"w": torch.ones(8, dtype=torch.bool)}).save(tmp_path)
    assert (tmp_path / "read").read_bytes() == before
    assert (tmp_path / REVIVED_FILE).read_bytes() != before
    assert len(list(tmp_path.iterdir())) == 2
