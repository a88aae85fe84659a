import pytest
from run_records import TOKENS_PER_STEP, evaluated, finetune_start, plan, start, train

from modelzoo_mediswift.errors import UserError
from modelzoo_mediswift.report.run import FINE_TUNING, PRETRAINING, parent, read_runs, total


def read(folder):
    return read_runs([folder])[0]


def test_flops_spent_and_saved_by_hand(make_run):
    run = read(make_run(start(), train(300)))
    # 6 * 196,608 + 5,242,880 + 1,572,864 + 49,152, and 4,718,592 instead of the first term
    assert run.tokens == 300 * TOKENS_PER_STEP == 1_228_800
    assert total(run.flops_per_token) == 8_044_544
    assert total(run.dense_flops_per_token) == 11_583_488
    assert run.flops["linear"] == 6 * 196_608 * 1_228_800
    assert total(run.flops) == 8_044_544 * 1_228_800
    assert run.flops_ratio == pytest.approx(0.694484, abs=1e-6)


def test_run_cut_short_has_spent_what_its_steps_cost(make_run):
    run = read(make_run(start(), train(150)))
    assert (run.steps, run.total_steps, run.tokens) == (150, 300, 614_400)


def test_continued_run_counts_its_own_steps(make_run):
    first = start(200, started_from="build/elsewhere/checkpoint_200")
    run = read(make_run(first, train(300), name="continued"))
    assert (run.steps, run.tokens) == (100, 409_600)


def test_sequences_shorter_than_the_positions_cost_less_attention(make_run):
    first = start()
    first["data"]["max_sequence_length"] = 64
    run = read(make_run(first, train(1)))
    assert run.tokens == 16 * 64
    assert run.flops_per_token == {
        "linear": 1_179_648,
        "vocabulary": 5_242_880,
        "attention": 1_572_864 / 4,
        "softmax": 49_152 / 4,
    }


def test_sparsity_by_kind_sums_over_layers(make_run):
    masks = [
        {"name": "model.layers.0.ffn.weight", "kept": 3, "total": 4},
        {"name": "model.layers.11.ffn.weight", "kept": 1, "total": 4},
        {"name": "model.layers.0.attn.weight", "kept": 1, "total": 8},
        {"name": "broken", "kept": "all"},
        None,
    ]
    run = read(make_run(start(sparsity=masks), train(1)))
    assert [(x.kind, x.kept, x.total, x.sparsity) for x in run.levels] == [
        ("model.layers.*.ffn.weight", 4, 8, 0.5),
        ("model.layers.*.attn.weight", 1, 8, 0.875),
    ]
    assert run.sparsity == 1 - 5 / 16


def test_training_time_is_the_sum_over_the_logged_rates(make_run):
    run = read(
        make_run(start(), train(10, tokens_per_second=4096.0), train(20, tokens_per_second=2048.0))
    )
    assert run.seconds == 10 * 4096 / 4096 + 10 * 4096 / 2048
    assert run.tokens_per_second == 3072


def test_old_log_without_plan_data_or_masks(make_run):
    first = {"event": "start", "step": 0, "plan": None, "data": [], "sparsity": "none"}
    run = read(make_run(first, train(10, 4.0)))
    assert run.tokens is run.flops is run.flops_ratio is run.seconds is run.sparsity is None
    assert (run.levels, run.stage, run.steps) == ((), PRETRAINING, 10)


def test_plan_with_a_missing_term_gives_no_flops(make_run):
    incomplete = plan()
    del incomplete["flops_per_token"]["softmax"]
    run = read(make_run(start(plan=incomplete), train(10)))
    assert run.flops is None
    assert run.tokens == 10 * TOKENS_PER_STEP


def test_losses_that_are_missing_leave_the_curves(make_run):
    run = read(make_run(start(), train(10, None), train(20, 3.0), evaluated(20, float("nan"))))
    assert [point.step for point in run.train_losses] == [20]
    assert run.validation_losses == {}


def test_finetuning_is_known_by_its_data_and_finds_its_parent(demo):
    pretrain, finetune = read_runs(demo)
    assert (pretrain.stage, finetune.stage) == (PRETRAINING, FINE_TUNING)
    assert parent(finetune, [pretrain, finetune]) is pretrain
    assert parent(pretrain, [pretrain, finetune]) is None


def test_parent_is_not_guessed_between_two_of_the_same_name(make_run):
    folders = [
        make_run(start(), name="a/pretrain"),
        make_run(start(), name="b/pretrain"),
        make_run(finetune_start(), name="finetune"),
    ]
    runs = read_runs(folders)
    assert parent(runs[2], runs) is None
    assert [run.name for run in runs] == [str(folders[0]), str(folders[1]), "finetune"]


def test_run_given_twice(demo):
    with pytest.raises(UserError, match="pretrain: given twice"):
        read_runs([demo[0], demo[1] / ".." / "pretrain"])


def test_notes_of_log_and_evaluations_come_together(demo):
    with (demo[0] / "log.jsonl").open("a") as log:
        log.write('{"event": "tr')
    (demo[0] / "evaluations" / "broken.json").write_text("{")
    notes = read_runs(demo)[0].notes
    assert len(notes) == 2
    assert notes[1] == "evaluations/broken.json: holds no scores, and was left out"


def test_a_damaged_record_is_said_and_a_missing_one_is_not(demo):
    assert read_runs(demo)[0].notes == ()
    (demo[0] / "run_record.json").write_text('{"sessions": [')
    (note,) = read_runs(demo)[0].notes
    assert note.startswith("run_record.json: cannot be read, and left out")
