import json
from pathlib import Path

import pytest

from modelzoo_mediswift.build_data import refuse_shared_examples
from modelzoo_mediswift.config.data import DataLoaderConfig
from modelzoo_mediswift.config.trainer import FitConfig
from modelzoo_mediswift.errors import UserError


def folder(path: Path, *ids: str) -> str:
    path.mkdir(parents=True)
    lines = [json.dumps({"id": one}) + "\n" for one in ids]
    (path / "examples.jsonl").write_text("".join(lines))
    return str(path)


def fit(train: str, *validation: str) -> FitConfig:
    def loader(path: str) -> DataLoaderConfig:
        return DataLoaderConfig(
            data_processor="GptHDF5MapDataProcessor", data_dir=(path,), batch_size=2
        )

    return FitConfig(
        train_dataloader=loader(train), val_dataloader=tuple(loader(v) for v in validation)
    )


@pytest.fixture
def folders(tmp_path: Path) -> tuple[str, str, str]:
    """Training, validation and test data that have nothing in common."""
    return (
        folder(tmp_path / "train", "1", "2"),
        folder(tmp_path / "validation", "3"),
        folder(tmp_path / "test", "4", "5"),
    )


def test_what_is_apart_passes(folders):
    train, validation, test = folders
    refuse_shared_examples(fit(train, validation))
    refuse_shared_examples(fit(train))
    refuse_shared_examples(fit(train, validation, test))  # the test set is only looked at


def test_the_test_set_beside_the_data_is_not_learnt(folders):
    _, validation, test = folders
    for held_out in ((validation,), (test,), ()):
        with pytest.raises(UserError, match=r"trains on examples of .*test: 4, 5"):
            refuse_shared_examples(fit(test, *held_out))


def test_no_model_is_chosen_on_the_test_set(folders, tmp_path):
    train, _, _ = folders
    (tmp_path / "validation" / "examples.jsonl").write_text('{"id": "5"}\n{"id": "3"}\n')
    with pytest.raises(UserError, match=r"validation: chooses a model on examples of .*test: 5"):
        refuse_shared_examples(fit(train, str(tmp_path / "validation")))
