from pathlib import Path

import pytest

from modelzoo_mediswift.engine.base import EvalResult
from modelzoo_mediswift.errors import UserError
from modelzoo_mediswift.trainer.early_stopping import FILE, EarlyStopping, best_checkpoint


def watched(folder: Path, losses: list[float], **settings) -> EarlyStopping:
    stopping = EarlyStopping(folder, **settings)
    for i, loss in enumerate(losses):
        stopping.consider(10 * i, EvalResult(loss, 1 / loss, 5))
    return stopping


def test_it_waits_for_its_patience_from_the_best_on(tmp_path):
    # The weights before the first step do not compete.
    assert not watched(tmp_path, [1.0, 4.0, 3.0, 3.5], patience=2).exhausted
    stopping = watched(tmp_path, [1.0, 4.0, 3.0, 3.5, 3.1], patience=2)
    assert stopping.exhausted
    assert stopping.best == (20, 3.0)
    assert best_checkpoint(tmp_path) == tmp_path / "checkpoint_20"


def test_a_gain_has_to_be_larger_than_min_delta(tmp_path):
    assert watched(tmp_path, [9.0, 4.0, 3.9], min_delta=0.2).exhausted
    assert not watched(tmp_path, [9.0, 4.0, 3.7], min_delta=0.2).exhausted
    assert watched(tmp_path, [9.0, 4.0, 4.1], monitor="accuracy").best == (10, 0.25)


def test_a_run_that_goes_on_forgets_what_came_after_its_checkpoint(tmp_path):
    watched(tmp_path, [9.0, 4.0, 3.0, 5.0])
    again = EarlyStopping(tmp_path)
    again.take_up(20)
    assert again.history == [(10, 4.0), (20, 3.0)]


@pytest.mark.parametrize("content", ["{}", '{"history": [[1]]}', '{"history": [["a", 1]]}'])
def test_a_damaged_history_is_named(tmp_path, content):
    (tmp_path / FILE).write_text(content)
    with pytest.raises(UserError, match=r"early_stopping\.json: damaged: history"):
        EarlyStopping(tmp_path).take_up(20)


def test_of_several_processes_one_writes_and_speaks(tmp_path, capsys):
    other = watched(tmp_path, [9.0, 4.0, 5.0], speaks=False)
    assert other.exhausted
    assert not (tmp_path / FILE).exists()
    assert capsys.readouterr().err == ""
    watched(tmp_path, [9.0, 4.0, 5.0])
    assert "best was 4.0000 at step 10" in capsys.readouterr().err


def test_a_number_is_better_than_none(tmp_path):
    nan = float("nan")
    assert watched(tmp_path, [9.0, nan, 4.0, nan]).best == (20, 4.0)
    assert watched(tmp_path, [9.0, nan, nan], patience=1).exhausted
