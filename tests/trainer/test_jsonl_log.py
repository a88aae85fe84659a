"""What the log holds besides the figures that the tests of whole runs read from it."""

import json

from modelzoo_mediswift.engine.base import EvalResult, StepResult
from modelzoo_mediswift.trainer.callbacks.base import Run
from modelzoo_mediswift.trainer.callbacks.jsonl_log import JsonLog
from modelzoo_mediswift.trainer.callbacks.rate import Rate


def events(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_a_line_that_a_kill_cut_short_does_not_take_the_next_one_with_it(tmp_path):
    (tmp_path / "log.jsonl").write_text('{"event": "start"}\n{"event": "tra')
    log = JsonLog()
    log.on_start(Run(tmp_path, 2, 4, log_every=1))
    log.on_end(2)
    lines = (tmp_path / "log.jsonl").read_text().splitlines()
    assert lines[1] == '{"event": "tra'
    assert [json.loads(line)["event"] for line in lines[2:]] == ["start", "end"]


def test_speed_is_that_of_training_without_evaluations_and_checkpoints(tmp_path):
    """A second a step of 8 tokens; what is done between them takes a hundred."""
    now = 0.0
    run = Run(tmp_path, 0, 3, log_every=1)
    log = JsonLog()
    log.on_start(run)
    log.rate = Rate(run, clock=lambda: now)
    for step in (1, 2, 3):
        now += 1
        log.on_step(StepResult(step, 0.5, 8, 1.0, 1.0))
        now += 100
        if step == 1:
            log.on_evaluate(step, "validation", EvalResult(1.0, 0.5, 8))
        else:
            log.on_checkpoint(step, tmp_path)
    log.on_end(3)
    speeds = [event["tokens_per_second"] for event in events(tmp_path) if event["event"] == "train"]
    assert speeds == [8.0, 8.0, 8.0]
