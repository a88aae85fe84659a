import json

import pytest
from run_records import evaluated, finetune_start, start, train

from modelzoo_mediswift.errors import UserError
from modelzoo_mediswift.report.log import read_log


def losses(log):
    return {point.step: point.loss for point in log.train}


def test_reads_what_the_log_callback_writes(make_run):
    folder = make_run(start(), train(10, 4.0, lr=2e-3, mfu=0.5), evaluated(10, 4.5, "val"))
    log = read_log(folder)
    assert log.facts["device"] == "CPU, float32"
    assert losses(log) == {10: 4.0}
    assert log.train[0].learning_rate == 2e-3
    assert log.train[0].mfu == 0.5
    assert log.train[0].tokens_per_second == 4096.0
    assert [(p.step, p.name, p.loss) for p in log.evaluations] == [(10, "val", 4.5)]
    assert (log.first_step, log.last_step, log.restarts, log.notes) == (0, 10, 0, ())


def test_last_line_cut_short_by_a_kill_is_left_out(make_run):
    log = read_log(make_run(start(), train(10, 4.0), '{"event": "train", "step": 20, "lo'))
    assert losses(log) == {10: 4.0}
    assert log.notes == ("log.jsonl: line 3 cut short or damaged, and left out",)


def test_resumed_run_replaces_the_steps_it_repeats(make_run):
    again = start(10, started_from="build/demo/pretrain/checkpoint_10", seed=2)
    log = read_log(
        make_run(
            start(seed=1),
            train(10, 4.0),
            evaluated(10, 4.5),
            train(20, 3.0),
            train(30, 2.0),
            evaluated(30, 2.5),
            again,
            train(20, 3.25),
        )
    )
    assert losses(log) == {10: 4.0, 20: 3.25}  # what was logged for 30 is no part of this run
    assert [point.step for point in log.evaluations] == [10]
    assert log.facts["seed"] == 2
    assert log.origin["seed"] == 1
    assert (log.restarts, log.last_step) == (1, 20)


def test_later_of_two_lines_for_one_step_counts(make_run):
    lines = (start(), train(10, 4.0), train(10, 5.0), evaluated(10, 1.0), evaluated(10, 2.0))
    log = read_log(make_run(*lines))
    assert losses(log) == {10: 5.0}
    assert [point.loss for point in log.evaluations] == [2.0]


def test_resumed_run_appended_to_half_a_line(make_run):
    again = start(10, started_from="build/demo/pretrain/checkpoint_10")
    log = read_log(make_run(start(), train(10, 4.0), '{"event": "tra', again, train(20, 3.0)))
    assert losses(log) == {10: 4.0, 20: 3.0}
    assert log.restarts == 1
    assert "line 3" in log.notes[0]


def test_run_begun_anew_in_the_same_folder_has_no_past(make_run):
    log = read_log(make_run(start(seed=1), train(10, 4.0), start(seed=2), train(10, 5.0)))
    assert losses(log) == {10: 5.0}
    assert (log.origin["seed"], log.restarts) == (2, 0)


def test_origin_survives_a_restart_from_the_initial_checkpoint(make_run):
    again = {**finetune_start(), "started_from": "build/demo/finetune/checkpoint_0"}
    log = read_log(make_run(finetune_start(), train(5), {**again, "revived_weights": 0}, train(5)))
    assert log.origin["started_from"] == "build/demo/pretrain/checkpoint_300"
    assert log.origin["revived_weights"] == 589_824
    assert log.restarts == 1


def test_checkpoint_and_end_tell_how_far_an_interrupted_run_came(make_run):
    lines = (start(), train(10), {"event": "checkpoint", "step": 15, "path": "x"})
    assert read_log(make_run(*lines, {"event": "end", "step": 15})).last_step == 15


def test_values_that_are_no_finite_numbers_count_as_missing(make_run):
    bad = train(10, None, lr="fast", tokens_per_second=[1], mfu=True)
    nan = json.dumps(train(20, 1.0)).replace("1.0", "NaN", 1) + "\n"
    huge = json.dumps(train(30, 1.0)).replace("1.0", "1" * 400, 1) + "\n"
    log = read_log(make_run(start(), bad, nan, huge))
    assert losses(log) == {10: None, 20: None, 30: None}
    point = log.train[0]
    assert (point.learning_rate, point.tokens_per_second, point.mfu) == (None, None, None)


@pytest.mark.parametrize(
    "line",
    [
        b"\xff\xfe\n",
        b"[1, 2]\n",
        b'{"step": 5}\n',
        b'{"event": "train"}\n',
        b'{"event": "train", "step": -1}\n',
        b'{"event": "train", "step": "ten"}\n',
        b"[" * 100_000 + b"\n",
        b'{"event": "train", "step": ' + b"9" * 5000 + b"}\n",
    ],
)
def test_damaged_line_is_noted_and_the_rest_read(make_run, line):
    log = read_log(make_run(start(), line, train(10, 4.0)))
    assert losses(log) == {10: 4.0}
    assert len(log.notes) == 1


def test_missing_runs_are_named(tmp_path):
    with pytest.raises(UserError, match=r"nowhere: no such folder; expected a run's model_dir$"):
        read_log(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"has no log\.jsonl; expected a run's model_dir$"):
        read_log(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"file: not a folder; expected a run's model_dir$"):
        read_log(tmp_path / "file")


def test_log_without_a_start_is_no_run(make_run):
    with pytest.raises(UserError, match=r"log\.jsonl: holds no start record"):
        read_log(make_run(train(10)))


def test_a_folder_of_runs_names_them(tmp_path):
    for name in ("a", "b/c"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "log.jsonl").touch()
    with pytest.raises(UserError, match=r"expected a run's model_dir, such as .*/a, .*/b/c$"):
        read_log(tmp_path)
    with pytest.raises(UserError, match=r"expected a run's model_dir$"):
        read_log(tmp_path / "b" / "c" / "nothing")
