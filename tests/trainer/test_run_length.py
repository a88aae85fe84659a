"""Steps, epochs and evaluations as the file says them."""

import pytest

from modelzoo_mediswift.build_length import make_cadence, total_steps
from modelzoo_mediswift.config.data import DataLoaderConfig
from modelzoo_mediswift.config.execution import LoggingConfig, LoopConfig
from modelzoo_mediswift.config.model import ModelConfig
from modelzoo_mediswift.config.trainer import InitConfig
from modelzoo_mediswift.errors import UserError


def data(**settings: object) -> DataLoaderConfig:
    return DataLoaderConfig.model_validate(
        {
            "data_processor": "GptHDF5MapDataProcessor",
            "data_dir": "train",
            "batch_size": 4,
            **settings,
        }
    )


@pytest.mark.parametrize(
    ("loop", "settings", "steps"),
    [
        ({"num_epochs": 2}, {}, 2 * 12),  # 50 sequences: two wait for the next epoch
        ({"num_epochs": 2}, {"drop_last": False}, 2 * 13),
        ({"num_epochs": 2}, {"num_samples": 20}, 2 * 5),
        ({"num_epochs": 2}, {"num_samples": 100}, 2 * 25),
        ({"num_epochs": 2, "grad_accum_steps": 5}, {}, 2 * 2),
        ({"num_epochs": 3, "steps_per_epoch": 9, "grad_accum_steps": 2}, {}, 3 * 4),
        ({"num_epochs": 2, "max_steps": 20}, {}, 20),
        ({"num_steps": 7}, {}, 10 + 7),
    ],
)
def test_where_training_ends(loop, settings, steps):
    assert total_steps(LoopConfig(**loop), data(**settings), 50, step=10) == steps


def test_data_that_makes_no_step_is_refused():
    loop = LoopConfig(num_epochs=1, grad_accum_steps=3)
    with pytest.raises(UserError, match=r"2 batches of 4 \(8 sequences\); a step takes 3"):
        total_steps(loop, data(), 8, step=0)


@pytest.mark.parametrize(
    ("loop", "total", "every"),
    [
        ({"max_steps": 100, "eval_frequency": 0.25}, 100, 25),
        ({"max_steps": 10, "eval_frequency": 0.33}, 10, 4),  # rounded up
        ({"num_steps": 40, "eval_frequency": 0.5}, 100, 20),  # of this run's steps
        ({"max_steps": 100, "eval_frequency": 30}, 100, 30),
        ({"max_steps": 100, "eval_frequency": None}, 100, 0),
    ],
)
def test_when_it_evaluates(loop, total, every):
    init = InitConfig(
        model=ModelConfig(name="gpt3"),
        loop=LoopConfig(**loop),
        logging=LoggingConfig(log_steps=1),
    )
    assert make_cadence(init, total).evaluate_every == every
