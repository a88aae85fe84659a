from run_records import score, start

from modelzoo_mediswift.report.evaluations import read_evaluations
from modelzoo_mediswift.report.run import read_runs
from modelzoo_mediswift.report.scores import moment, newest_score


def test_reads_scores_and_passes_over_predictions(make_run, write_scores):
    run = make_run(start())
    write_scores(run, "checkpoint_300", likelihood=score(0.625), generation=score(0.5))
    scores, notes = read_evaluations(run)
    assert notes == ()
    assert [(s.how, s.accuracy, s.majority_accuracy) for s in scores] == [
        ("likelihood", 0.625, 0.55),
        ("generation", 0.5, 0.55),
    ]
    assert (scores[0].task, scores[0].split, scores[0].step) == ("pubmedqa", "test", 300)
    assert scores[0].checkpoint == "checkpoint_300"


def test_checkpoints_come_in_the_order_of_their_steps(make_run, write_scores):
    run = make_run(start())
    for name in ("checkpoint_100", "checkpoint_20", "best"):
        write_scores(run, name, likelihood=score(0.5))
    scores, _ = read_evaluations(run)
    assert [s.checkpoint for s in scores] == ["best", "checkpoint_20", "checkpoint_100"]
    assert newest_score(read_runs([run])[0]).checkpoint == "checkpoint_100"


def test_an_earlier_test_score_goes_before_a_later_one_of_another_split(make_run, write_scores):
    run = make_run(start())
    write_scores(run, "checkpoint_20", likelihood=score(0.5), generation=score(0.25))
    path = write_scores(run, "checkpoint_100", likelihood=score(0.75))
    path.write_text(path.read_text().replace('"split": "test"', '"split": "validation"'))
    found = newest_score(read_runs([run])[0])
    assert (found.checkpoint, found.how, found.accuracy) == ("checkpoint_20", "likelihood", 0.5)


def test_run_without_evaluations(make_run):
    run = make_run(start())
    assert read_evaluations(run) == ((), ())
    assert newest_score(read_runs([run])[0]) is None


def test_fields_of_the_wrong_kind_are_missing(make_run, write_scores):
    run = make_run(start())
    broken = {"accuracy": "high", "accuracy_interval": [0.1], "parse_failures": 1.5}
    write_scores(run, "checkpoint_1", likelihood=broken, generation=None)
    for found in read_evaluations(run)[0]:
        assert found.accuracy is found.interval is found.parse_failures is found.macro_f1 is None


def test_moment_is_before_or_after_finetuning(demo, write_scores):
    write_scores(demo[1], "checkpoint_0", likelihood=score(0.5))
    pretrain, finetune = read_runs(demo)
    assert {moment(pretrain, s) for s in pretrain.scores} == {"before"}
    assert [moment(finetune, s) for s in finetune.scores] == [
        "before",
        "after 200 steps",
        "after 200 steps",
    ]
