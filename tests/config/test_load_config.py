from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from modelzoo_mediswift.config.load import check, load_config, parse_config
from modelzoo_mediswift.config.trainer import NEWEST, TrainerConfig
from modelzoo_mediswift.config.yaml_file import YamlDocument, parse_yaml
from modelzoo_mediswift.errors import UserError

Load = Callable[..., TrainerConfig]
Complaint = Callable[..., str]


def test_a_complaint_names_file_line_and_path(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(
        "trainer:\n  init:\n    model: {name: gpt3}\n    sparsity:\n      sparsity: 1.5\n"
    )
    with pytest.raises(UserError) as caught:
        load_config(path)
    assert str(caught.value) == (
        f"{path}:5: trainer.init.sparsity.sparsity: expected a number in [0, 1), got 1.5"
    )


def test_an_unknown_key_names_the_nearest_one(complaint: Complaint) -> None:
    assert complaint(("max_steps: 10", "max_stesp: 10")) == (
        '11: trainer.init.loop.max_stesp: unknown key "max_stesp"; did you mean "max_steps"? '
        "(known: eval_frequency, eval_steps, grad_accum_steps, max_steps, num_epochs, num_steps, "
        "steps_per_epoch)"
    )


def test_an_unknown_key_without_a_near_one(complaint: Complaint) -> None:
    assert complaint(("lr: 1e-3", "zzz: 1")) == (
        '9: trainer.init.optimizer.AdamW.zzz: unknown key "zzz" '
        "(known: betas, correct_bias, eps, lr, weight_decay)"
    )


def test_all_mistakes_are_reported_by_line(complaint: Complaint) -> None:
    text = complaint(
        ("batch_size: 8", "batch_size: 0\n      mixture: [a]"),
        ("max_steps: 10", "max_stesp: 10\n      eval_steps: -1"),
        ("hidden_size: 64", "hidden_size: 62"),
    )
    assert [line.split(": ")[:2] for line in text.splitlines()] == [
        ["6", "trainer.init.model.num_heads"],
        ["11", "trainer.init.loop.max_stesp"],
        ["12", "trainer.init.loop.eval_steps"],
        ["17", "trainer.fit.train_dataloader.batch_size"],
        ["18", "trainer.fit.train_dataloader.mixture"],
    ]


def test_a_key_with_a_line_break_makes_no_second_line(complaint: Complaint) -> None:
    text = complaint(("lr: 1e-3", '"a\\nb": 1'))
    assert text.startswith('9: trainer.init.optimizer.AdamW.a\\nb: unknown key "a\\nb" (known: ')
    assert "\n" not in text


def test_a_missing_key_has_the_line_of_its_mapping(complaint: Complaint) -> None:
    assert complaint(("      batch_size: 8\n", "")) == (
        "13: trainer.fit.train_dataloader.batch_size: missing; this key is required"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("trainer:\n", "f:1: trainer: expected a mapping with the key `init`, got null"),
        ("trainer: 3\n", "f:1: trainer: expected a mapping with the key `init`, got 3"),
        ("trainer: {}\n", "f:1: trainer.init: missing; this key is required"),
        ("trainer:\n  init:\n", "f:2: trainer.init: expected a mapping, got null"),
        (
            "trainer:\n- trainer: {}\n",
            "f:1: trainer: a recipe of 1 stages, where one trainer is expected; "
            "run.py takes it, and a stage of it with --stage",
        ),
        ("trian: {}\n", 'f:1: unknown key "trian"; did you mean "trainer"? (known: trainer)'),
        ("trainer: {}\nextra: 1\n", 'f:2: unknown key "extra" (known: trainer)'),
        (
            "model: {}\nrunconfig: {}\n",
            "f:1: `model` at the top is the form of Model Zoo before release 2.4; "
            "expected `trainer: {init: ..., fit: ...}`, as in the files in params/",
        ),
        (
            "# V1\ntrain_input: {}\n",
            "f:2: `train_input` at the top is the form of Model Zoo before release 2.4; "
            "expected `trainer: {init: ..., fit: ...}`, as in the files in params/",
        ),
    ],
)
def test_wrong_shape_at_the_top(text: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_config(text, "f")
    assert str(caught.value) == message


def test_overrides_replace_and_add(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(
        "trainer:\n  init:\n    model: {name: gpt3}\n    optimizer: {AdamW: {lr: 1}}\n"
        "    loop: {max_steps: 10}\n  fit:\n    train_dataloader: "
        "{data_processor: GptHDF5MapDataProcessor, data_dir: d, batch_size: 1}\n"
    )
    assert load_config(path).init.loop.max_steps == 10
    config = load_config(
        path,
        {
            "trainer.init.loop.max_steps": 20,
            "trainer.init.checkpoint.steps": 5,
            "trainer.init.model_dir": "elsewhere",
            "trainer.fit.ckpt_path": None,
        },
    )
    assert config.init.loop.max_steps == 20
    assert config.init.checkpoint.steps == 5
    assert config.init.model_dir == "elsewhere"
    assert config.fit is not None
    assert config.fit.ckpt_path is None
    assert config.fit.ckpt_path is not NEWEST


def test_a_mistake_in_an_override_does_not_blame_the_file(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("trainer:\n  init:\n    model: {name: gpt3}\n    seed: 1\n")
    with pytest.raises(UserError) as caught:
        load_config(path, {"trainer.init.loop.max_steps": -5})
    assert str(caught.value) == (
        f"{path} (changed on the command line): trainer.init.loop.max_steps: "
        "expected an integer >= 1, got -5"
    )
    with pytest.raises(UserError) as caught:
        load_config(path, {"trainer.init.seed.x": 1})
    assert str(caught.value) == (
        "cannot set trainer.init.seed.x: trainer.init.seed is 1, not a mapping"
    )


def test_numbers_in_text_are_not_numbers(complaint: Complaint) -> None:
    assert 'expected an integer >= 1, got "10"' in complaint(("max_steps: 10", "max_steps: '10'"))
    assert "expected an integer >= 1, got true" in complaint(("batch_size: 8", "batch_size: yes"))
    assert "expected an integer >= 1, got 8.0" in complaint(("batch_size: 8", "batch_size: 8.0"))


def test_a_float_may_be_written_as_an_integer(load: Load) -> None:
    config = load(("lr: 1e-3", "lr: 1"))
    assert config.init.optimizer is not None
    assert config.init.optimizer.learning_rate == 1.0
    assert isinstance(config.init.optimizer.learning_rate, float)


@pytest.mark.parametrize("value", [".inf", ".nan", "-.inf", "1" + "0" * 400])
def test_no_number_without_end(complaint: Complaint, value: str) -> None:
    assert "AdamW.lr: expected a number >= 0, got" in complaint(("lr: 1e-3", f"lr: {value}"))


def test_a_configuration_cannot_be_changed(load: Load) -> None:
    config = load()
    with pytest.raises(ValueError, match="frozen"):
        config.init.seed = 3


EVERY_SECTION = """\
trainer:
  init:
    model: {name: mediswift, num_virtual_tokens: 3, initializer: {name: normal, std: 1e-2}}
    device: GPU
    backend: {backend_type: csx, cluster_config: {num_csx: 2, mount_dirs: [/a]}}
    model_dir: x
    optimizer: {AdamW: {lr: 1e-4, betas: [0.8, 0.9]}}
    schedulers:
    - SequentialLR: {schedulers: [{ConstantLR: {learning_rate: 1}}], milestones: []}
    precision: {fp16_type: bfloat16, loss_scaling_factor: dynamic}
    sparsity: [{sparsity: 0.5, param_filter: '*q*', algorithm: static, init_method: topk}]
    loop: {max_steps: 7, eval_frequency: 1}
    checkpoint: {steps: 3}
    logging: {log_steps: 1, log_level: INFO}
    callbacks:
    - ComputeNorm: {}
    - KeepNCheckpoints: {n: 2}
    - LoadCheckpointStates: {load_checkpoint_states: model}
    - ScopedTrainFlags: {csx.performance.micro_batch_size: {explore: {min: 2}}}
    loggers: [{TensorBoardLogger: {summary_dir: tb}}]
    seed: 7
  fit:
    train_dataloader: &data
      data_processor: GptHDF5MapDataProcessor
      data_dir: [a, b]
      batch_size: 2
    val_dataloader: [*data]
    ckpt_path: c
  validate: {val_dataloader: *data, ckpt_path: null}
  validate_all: {val_dataloaders: *data, ckpt_paths: [a, b]}
"""
ODD = [None, True, 0, -1, 0.5, 10**400, float("nan"), "", "text", [], [None], {}, {"a": None}]


def paths(value: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The place of every value inside."""
    if path:
        yield path
    children: Iterable[tuple[str | int, object]] = ()
    if isinstance(value, dict):
        children = value.items()
    elif isinstance(value, list):
        children = enumerate(value)
    for key, child in children:
        yield from paths(child, (*path, key))


def test_no_value_anywhere_causes_anything_but_a_clear_message() -> None:
    data: Any = parse_yaml(EVERY_SECTION, "f").data
    check(YamlDocument("f", data, {(): 1}))
    faults = 0
    for *parents, last in list(paths(data)):
        node = data
        for key in parents:
            node = node[key]
        before = node[last]
        for odd in ODD:
            node[last] = odd
            try:
                check(YamlDocument("f", data, {(): 1}))
            except UserError as error:
                faults += 1
                for line in str(error).splitlines():
                    assert line.startswith("f:1: "), line
                    assert "Input should" not in line, line
                    assert "permitted" not in line, line
        node[last] = before
    assert faults > 500
