from collections.abc import Callable

import pytest

from modelzoo_mediswift.config.load import parse_config
from modelzoo_mediswift.config.trainer import NEWEST, TrainerConfig
from modelzoo_mediswift.errors import UserError

Load = Callable[..., TrainerConfig]
Complaint = Callable[..., str]

LOADER = "{data_processor: GptHDF5MapDataProcessor, data_dir: v, batch_size: 2}"
MODEL = "trainer:\n  init:\n    model: {name: gpt3}\n"


def fit(text: str) -> tuple[str, str]:
    return ("  fit:\n", f"  fit:\n    {text}\n")


@pytest.mark.parametrize(
    ("text", "path"),
    [("", NEWEST), ("ckpt_path: null", None), ("ckpt_path: ./c_300", "./c_300"),
     ("ckpt_path: newest", "newest")],
)  # fmt: skip
def test_absent_null_and_given_checkpoints_differ(load: Load, text: str, path: object) -> None:
    config = load(fit(text)) if text else load()
    assert config.fit is not None
    assert config.fit.ckpt_path == path
    assert (config.fit.ckpt_path is NEWEST) == (path is NEWEST)


@pytest.mark.parametrize("value", ["3", "''", "[a]", "true"])
def test_faulty_checkpoints(complaint: Complaint, value: str) -> None:
    text = complaint(fit(f"ckpt_path: {value}"))
    assert text.startswith(
        "13: trainer.fit.ckpt_path: expected a path, or null to start from scratch, got "
    )


@pytest.mark.parametrize(
    ("value", "count"), [("null", 0), (LOADER, 1), (f"[{LOADER}]", 1), (f"[{LOADER}, {LOADER}]", 2)]
)
def test_validation_dataloaders(load: Load, value: str, count: int) -> None:
    config = load(fit(f"val_dataloader: {value}"))
    assert config.fit is not None
    assert len(config.fit.val_dataloader) == count


def test_a_mistake_in_one_of_several_dataloaders(complaint: Complaint) -> None:
    faulty = LOADER.replace("2", "0")
    at = "13: trainer.fit.val_dataloader"
    assert complaint(fit(f"val_dataloader: [{LOADER}, {faulty}]")) == (
        f"{at}.1.batch_size: expected an integer >= 1, got 0"
    )
    assert complaint(fit(f"val_dataloader: {faulty}")) == (
        f"{at}.batch_size: expected an integer >= 1, got 0"
    )
    assert complaint(fit("val_dataloader: 3")) == (
        f"{at}: expected a dataloader or a list of them, got 3"
    )


def test_evaluation_needs_neither_optimizer_nor_loop() -> None:
    config = parse_config(f"{MODEL}  validate:\n    val_dataloader: {LOADER}\n")
    assert config.fit is None
    assert config.validate_ is not None
    assert config.validate_.val_dataloader.batch_size == 2
    assert config.validate_.ckpt_path is NEWEST


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("", NEWEST),
        (", ckpt_paths: null", None),
        (", ckpt_paths: 'a/*'", ("a/*",)),
        (", ckpt_paths: [a, b]", ("a", "b")),
    ],
)
def test_validate_all_reads_its_dataloaders_and_checkpoints(text: str, paths: object) -> None:
    config = parse_config(f"{MODEL}  validate_all: {{val_dataloaders: {LOADER}{text}}}\n")
    assert config.validate_all is not None
    assert len(config.validate_all.val_dataloaders) == 1
    assert config.validate_all.ckpt_paths == paths


@pytest.mark.parametrize("paths", ["3", "[]", "[3]", "['']"])
def test_faulty_paths_of_validate_all(paths: str) -> None:
    with pytest.raises(UserError, match=r"ckpt_paths: expected a path, a glob or a list of them"):
        parse_config(f"{MODEL}  validate_all: {{ckpt_paths: {paths}}}\n")


def test_sequences_longer_than_the_model_reads() -> None:
    long = LOADER.replace("batch_size", "max_sequence_length: 2048, batch_size")
    text = f"{MODEL}  validate: {{val_dataloader: {long}}}\n  validate_all:\n    val_dataloaders:\n"
    with pytest.raises(UserError) as caught:
        parse_config(f"{text}    - {LOADER}\n    - {long}\n", "f")
    message = "max_sequence_length: expected at most max_position_embeddings = 1024, got 2048"
    assert str(caught.value).splitlines() == [
        f"f:4: trainer.validate.val_dataloader.{message}",
        f"f:8: trainer.validate_all.val_dataloaders.1.{message}",
    ]


def test_python_names_are_no_keys(complaint: Complaint) -> None:
    text = complaint(("  fit:\n", "  validate_: null\n  fit:\n"))
    assert text.startswith('12: trainer.validate_: unknown key "validate_"; did you mean')
