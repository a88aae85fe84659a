"""`run --plan`: it says what `run` would do, and does nothing."""

import gzip
import json
from pathlib import Path

import pytest
from test_run_stages import config_file, products

from data_preprocessing.__main__ import main
from data_preprocessing.run_config import load_run_config
from data_preprocessing.run_plan import SHARE, SPEED, expanded_size, plan_table
from modelzoo_mediswift.errors import UserError

CORPUS = """\
out: {out}
sample: {{scale: 0.05}}
merge: {{seed: 1}}
tokenizer: {{vocab_size: 300}}
pack: {{max_sequence_length: 64}}
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = config_file(tmp_path_factory.mktemp("plan"), text=CORPUS)
    assert main(["run", str(config)]) == 0
    return config


def planned(config: Path, **replaced: str) -> dict[str, str]:
    """Stage -> what it would do, with the YAML changed."""
    text = config.read_text()
    for old, new in replaced.items():
        text = text.replace(old, new)
    changed = config.with_name("changed.yaml")
    changed.write_text(text)
    table = plan_table(load_run_config(changed)).splitlines()
    start, end = table[0].index("stage") + 11, table[0].index("GB") - 1
    return {row[:start].strip(): row[start:end].strip() for row in table[1:-1]}


def test_before_anything_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = config_file(tmp_path, text=CORPUS)
    assert main(["run", str(config), "--plan"]) == 0
    rows = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()[1:-1]]
    assert rows == [
        ["sample", "to do"],
        ["parse", "to do after sample"],
        ["merge", "to do after parsed"],
        ["tokenizer", "to do after merged"],
        ["pack", "to do after merged"],
        ["card", "to do after merged"],
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["out.yaml"]


def test_a_finished_corpus_is_planned_as_done(finished: Path) -> None:
    before = products(finished.parent)
    plan = planned(finished)
    assert plan.pop("parse").startswith("done, unless a file has changed")
    assert set(plan.values()) == {"done"}
    before["changed.yaml"] = before["out.yaml"]
    assert products(finished.parent) == before


def test_other_settings_and_all_that_follows(finished: Path) -> None:
    plan = planned(finished, **{"max_sequence_length: 64": "max_sequence_length: 32"})
    assert plan["tokenizer"] == "done"
    assert plan["pack"].startswith("to do again: other settings or inputs")
    assert plan["card"] == "to do again after packed"
    plan = planned(finished, **{"seed: 1": "seed: 2"})
    assert plan["merge"].startswith("to do again: other settings or inputs")
    assert plan["tokenizer"] == "to do again after merged"
    plan = planned(finished, **{"scale: 0.05": "scale: 0.06"})
    assert plan["parse"].startswith("to do after sample")


def test_what_was_interrupted(finished: Path) -> None:
    state_file = finished.with_suffix("") / "run.json"
    kept = state_file.read_text()
    state = json.loads(kept)
    for stage in ("tokenizer", "pack"):
        del state[stage]["files"]
    try:
        state_file.write_text(json.dumps(state))
        plan = planned(finished)
        assert plan["tokenizer"] == "to do again: it was interrupted"
        assert plan["pack"].startswith("to do again after tokenizer") or plan["pack"].startswith(
            "to do after tokenizer"
        )
        state["tokenizer"] = json.loads(kept)["tokenizer"]
        state_file.write_text(json.dumps(state))
        assert planned(finished)["pack"].startswith("to continue")
    finally:
        state_file.write_text(kept)


def test_estimates_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    speeds = {"parse": 1e7 / 72, "merge": 1.0, "merge with MinHash": 1e6, "pack": 1e4}
    for stage, speed in speeds.items():
        monkeypatch.setitem(SPEED[stage], "citations", speed)
    for stage, share in {"parse": 0.1, "merge": 0.2, "pack": 0.3}.items():
        monkeypatch.setitem(SHARE[stage], "citations", share)
    xml = b"<PubmedArticleSet>" + b" " * 9_999_963 + b"</PubmedArticleSet>"
    assert len(xml) == 10_000_000
    path = tmp_path / "in" / "pubmed26n0001.xml.gz"
    path.parent.mkdir()
    path.write_bytes(gzip.compress(xml))
    assert expanded_size(path) == 10_000_000
    (tmp_path / "c.yaml").write_text(
        f"out: {tmp_path / 'out'}\nparse: {{inputs: [{path.parent}], workers: 2}}\n"
        "merge: {near_duplicates: 0.8}\npack: {max_sequence_length: 64}\n"
    )
    rows = {
        line.split()[0]: line.split()[-2:]
        for line in plan_table(load_run_config(tmp_path / "c.yaml")).splitlines()
    }
    assert rows["parse"] == ["0.001", "0.01"]  # 0.1 of 10 MB; 10 MB at 139 kB/s by two workers
    assert rows["merge"] == ["0.002", "0.0028"]
    assert rows["pack"] == ["0.003", "0.28"]
    assert not (tmp_path / "out").exists()


def test_mistakes_are_said(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(
        f"out: {tmp_path / 'out'}\nparse: {{inputs: [{tmp_path / 'none'}]}}\n"
        "pack: {max_sequence_length: 64}\n"
    )
    with pytest.raises(UserError, match="none: no such file or folder"):
        plan_table(load_run_config(tmp_path / "c.yaml"))
