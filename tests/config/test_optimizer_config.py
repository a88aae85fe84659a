from collections.abc import Callable

import pytest

from modelzoo_mediswift.config.optimizer import AdamW, ConstantLR, CosineDecayLR, LinearLR
from modelzoo_mediswift.config.optimizer import SequentialLR as Sequential
from modelzoo_mediswift.config.trainer import TrainerConfig

Load = Callable[..., TrainerConfig]
Complaint = Callable[..., str]

WARM_UP = "LinearLR: {initial_learning_rate: 0, end_learning_rate: 1, total_iters: 20}"
DECAY = "CosineDecayLR: {initial_learning_rate: 1, end_learning_rate: 0.1, total_iters: 180}"
CONSTANT = "ConstantLR: {learning_rate: 0.1}"


def schedule(*entries: str) -> tuple[str, str]:
    """Change to the small file: schedulers added."""
    return (
        "    loop:",
        "    schedulers: [" + ", ".join(f"{{{e}}}" for e in entries) + "]\n    loop:",
    )


def sequential(*entries: str, more: str = "") -> tuple[str, str]:
    return schedule(
        f"SequentialLR: {{schedulers: [{', '.join(f'{{{e}}}' for e in entries)}]{more}}}"
    )


def test_adamw_with_model_zoos_defaults(load: Load) -> None:
    assert load().init.optimizer == AdamW(
        learning_rate=1e-3, betas=(0.9, 0.999), eps=1e-6, weight_decay=0.0
    )


def test_adamw_in_full_under_either_name_of_the_rate(load: Load) -> None:
    config = load(
        ("AdamW:", "adamw:"),
        ("lr: 1e-3", "learning_rate: 2e-4\n        betas: [0.9, 0.95]\n        eps: 1e-8\n"
         "        weight_decay: 0.1\n        correct_bias: true\n        amsgrad: false"),
    )  # fmt: skip
    assert config.init.optimizer == AdamW(
        learning_rate=2e-4, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            ("lr: 1e-3", "lr: 1\n        learning_rate: 2"),
            "10: trainer.init.optimizer.AdamW.learning_rate: "
            "lr and learning_rate are two names of one thing; write one",
        ),
        (
            ("lr: 1e-3", "lr: -1"),
            "9: trainer.init.optimizer.AdamW.lr: expected a number >= 0, got -1",
        ),
        (
            ("lr: 1e-3", "betas: [0.9]\n        lr: 1"),
            "9: trainer.init.optimizer.AdamW.betas: expected two numbers in [0, 1), got [0.9]",
        ),
        (
            ("lr: 1e-3", "betas: [0.9, 1.0]\n        lr: 1"),
            "9: trainer.init.optimizer.AdamW.betas: expected two numbers in [0, 1), got [0.9, 1.0]",
        ),
        (
            ("lr: 1e-3", "correct_bias: false\n        lr: 1"),
            "9: trainer.init.optimizer.AdamW.correct_bias: AdamW without bias correction is not "
            "supported here; supported: true (got false)",
        ),
        (
            ("AdamW:", "AdmW:"),
            '7: trainer.init.optimizer: unknown optimizer "AdmW"; did you mean "AdamW"? '
            "(known: AdamW)",
        ),
        (
            ("      AdamW:\n        lr: 1e-3\n", "      AdamW: {lr: 1}\n      Lion: {}\n"),
            "7: trainer.init.optimizer: expected one optimizer written as `Name: {...}`, "
            "got the keys AdamW, Lion",
        ),
        (
            ("      AdamW:\n        lr: 1e-3\n", "      AdamW:\n"),
            "8: trainer.init.optimizer.AdamW: expected {} or a mapping, got null",
        ),
        (
            ("    optimizer:\n      AdamW:\n        lr: 1e-3\n", ""),
            "2: trainer.init.optimizer: missing; trainer.fit needs it",
        ),
        (
            ("        lr: 1e-3\n", "        eps: 1e-8\n"),
            "8: trainer.init.optimizer.AdamW.lr: missing; needed where there are no schedulers",
        ),
    ],
)
def test_faulty_optimizers(complaint: Complaint, change: tuple[str, str], message: str) -> None:
    assert complaint(change) == message


def test_warm_up_and_decay(load: Load) -> None:
    init = load(sequential(WARM_UP, DECAY, CONSTANT)).init
    assert isinstance(init.scheduler, Sequential)
    assert init.scheduler.schedulers == (
        LinearLR(initial_learning_rate=0.0, end_learning_rate=1.0, total_iters=20),
        CosineDecayLR(initial_learning_rate=1.0, end_learning_rate=0.1, total_iters=180),
        ConstantLR(learning_rate=0.1),
    )
    assert init.scheduler.milestones == (20, 200)
    assert init.warmup_steps == 20
    assert init.schedule_steps is None, "the last one has no end"
    assert load(sequential(WARM_UP, DECAY)).init.schedule_steps == 200


def test_a_single_schedule_or_none(load: Load) -> None:
    warm_up = load(schedule(WARM_UP)).init
    assert (warm_up.warmup_steps, warm_up.schedule_steps) == (20, 20)
    decay = load(schedule(DECAY)).init
    assert (decay.warmup_steps, decay.schedule_steps) == (0, 180)
    constant = load(schedule(CONSTANT)).init
    assert (constant.warmup_steps, constant.schedule_steps) == (0, None)
    nothing = load().init
    assert (nothing.scheduler, nothing.warmup_steps, nothing.schedule_steps) == (None, 0, None)


def test_a_falling_line_is_no_warm_up(load: Load) -> None:
    assert (
        load(
            schedule(WARM_UP.replace("end_learning_rate: 1", "end_learning_rate: 0"))
        ).init.warmup_steps
        == 0
    )


def test_milestones_that_agree_may_stand(load: Load) -> None:
    assert load(sequential(WARM_UP, DECAY, more=", milestones: [20]")) == load(
        sequential(WARM_UP, DECAY)
    )


AT = "10: trainer.init.schedulers"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            sequential(WARM_UP, DECAY, more=", milestones: [21]"),
            f"{AT}.0.SequentialLR.milestones: expected [20], the sums of total_iters; got [21]",
        ),
        (
            sequential(CONSTANT, DECAY),
            f"{AT}.0.SequentialLR.milestones: every schedule before the last needs total_iters",
        ),
        (
            sequential(),
            f"{AT}.0.SequentialLR.schedulers: expected at least one entry, got []",
        ),
        (
            sequential("SequentialLR: {}"),
            f"{AT}.0.SequentialLR.schedulers.0: SequentialLR is Model Zoo's but not supported "
            "here: SequentialLR stands outside the others",
        ),
        (
            schedule(WARM_UP, DECAY),
            f"{AT}: expected one schedule of the learning rate, got 2; "
            "write SequentialLR to have one follow another",
        ),
        (
            sequential(WARM_UP.replace("total_iters: 20", "total_iters: 0")),
            f"{AT}.0.SequentialLR.schedulers.0.LinearLR.total_iters: "
            "expected an integer >= 1, got 0",
        ),
        (
            schedule("CosinDecayLR: {}"),
            f'{AT}.0: unknown scheduler "CosinDecayLR"; did you mean "CosineDecayLR"? '
            "(known: ConstantLR, CosineDecayLR, LinearLR, SequentialLR)",
        ),
    ],
)
def test_faulty_schedules(complaint: Complaint, change: tuple[str, str], message: str) -> None:
    assert complaint(change) == message
