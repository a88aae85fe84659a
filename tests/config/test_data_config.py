from collections.abc import Callable

import pytest

from modelzoo_mediswift.config.data import DataLoaderConfig
from modelzoo_mediswift.config.trainer import TrainerConfig

Load = Callable[..., TrainerConfig]
Complaint = Callable[..., str]


def loader(config: TrainerConfig) -> DataLoaderConfig:
    assert config.fit is not None
    return config.fit.train_dataloader


def more(text: str) -> tuple[str, str]:
    """Change to the small file: a key of the dataloader added in its line 17."""
    return ("batch_size: 8", f"batch_size: 8\n      {text}")


def test_model_zoos_defaults(load: Load) -> None:
    assert loader(load()) == DataLoaderConfig(
        data_processor="GptHDF5MapDataProcessor",
        data_dir=("./data",),
        batch_size=8,
        shuffle=False,
        shuffle_seed=0,
        max_sequence_length=None,
        num_samples=None,
        drop_last=True,
        pad_last=False,
        sort_files=True,
        num_workers=0,
        prefetch_factor=None,
        persistent_workers=False,
    )


def test_with_workers(load: Load) -> None:
    config = loader(load(more("num_workers: 2")))
    assert (config.num_workers, config.prefetch_factor, config.persistent_workers) == (2, 10, True)


def test_without_workers_nothing_is_prefetched(load: Load) -> None:
    config = loader(load(more("prefetch_factor: 5\n      persistent_workers: true")))
    assert (config.num_workers, config.prefetch_factor, config.persistent_workers) == (
        0,
        None,
        False,
    )


def test_several_directories(load: Load) -> None:
    assert loader(load(("./data", "[a, b]"))).data_dir == ("a", "b")


def test_paths_stay_as_they_are_written(load: Load) -> None:
    """They are relative to the working directory, and the YAML's place does not matter."""
    assert loader(load(("./data", "../x/./y/"))).data_dir == ("../x/./y/",)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("./data", "[]"), "15: {}.data_dir: expected at least one entry, got []"),
        (("./data", "3"), "15: {}.data_dir: expected a path, got 3"),
        (
            ("./data", "~/data"),
            '15: {}.data_dir: expected a path in full (`~` and `$` are a shell\'s), got "~/data"',
        ),
        (
            ("./data", "[$DATA]"),
            '15: {}.data_dir.0: expected a path in full (`~` and `$` are a shell\'s), got "$DATA"',
        ),
        (
            ("./data", '"a\\0b"'),
            "15: {}.data_dir: expected a path, got one with a zero byte in it",
        ),
        (("./data", "[a, 3]"), "15: {}.data_dir.1: expected a path, got 3"),
        (more("shuffle: 1"), "17: {}.shuffle: expected true or false, got 1"),
        (more("num_workers: -1"), "17: {}.num_workers: expected an integer >= 0, got -1"),
        (more("num_samples: 0"), "17: {}.num_samples: expected an integer >= 1, got 0"),
        (
            more("sort_files: false"),
            "17: {}.sort_files: reading files in the system's order is not supported; "
            "supported: true (got false)",
        ),
        (
            more("max_sequence_length: 1025"),
            "17: {}.max_sequence_length: expected at most max_position_embeddings = 1024, got 1025",
        ),
        (
            ("GptHDF5MapDataProcessor", "GptHDF5MapDataProcesor"),
            '14: {}.data_processor: unknown data processor "GptHDF5MapDataProcesor"; did you mean '
            '"GptHDF5MapDataProcessor"? (known: GptHDF5MapDataProcessor)',
        ),
        (
            ("      data_processor: GptHDF5MapDataProcessor\n", ""),
            "13: {}.data_processor: missing; this key is required",
        ),
    ],
)
def test_mistakes(complaint: Complaint, change: tuple[str, str], message: str) -> None:
    assert complaint(change) == message.replace("{}", "trainer.fit.train_dataloader")
