from collections.abc import Callable

import pytest
import yaml

from modelzoo_mediswift.config.dump import to_dict, to_yaml
from modelzoo_mediswift.config.load import parse_config
from modelzoo_mediswift.config.trainer import TrainerConfig

Load = Callable[..., TrainerConfig]

LOADER = "{data_processor: GptHDF5MapDataProcessor, data_dir: v, batch_size: 2}"
RICH = f"""\
trainer:
  init:
    model:
      name: mediswift
      num_virtual_tokens: 3
      initializer: {{name: normal, std: 1e-2}}
      attention_dropout_rate: null
    device: GPU
    backend: {{backend_type: csx, cluster_config: {{num_csx: 2, mount_dirs: [/a]}}}}
    optimizer: {{adamw: {{learning_rate: 1e-4, betas: [0.8, 0.9]}}}}
    schedulers:
    - SequentialLR:
        schedulers:
        - LinearLR: {{initial_learning_rate: 0, end_learning_rate: 3e-4, total_iters: 5}}
        - ConstantLR: {{learning_rate: 3e-4}}
    precision: {{fp16_type: cbfloat16, loss_scaling_factor: dynamic, max_gradient_norm: 1}}
    sparsity:
    - {{sparsity: 0.5, param_filter: '*q*'}}
    - {{sparsity: 0.75, init_method: topk}}
    loop: {{max_steps: 7, num_epochs: 2, eval_frequency: null}}
    callbacks:
    - ComputeNorm: null
    - LogOptimizerParamGroup: {{keys: [lr]}}
    - KeepNCheckpoints: {{n: 2}}
    - LogSparsity: {{}}
    - ScopedTrainFlags: {{csx.performance.micro_batch_size: {{explore: {{min: 2}}}}}}
    loggers:
    - ProgressLogger: null
    - TensorBoardLogger: {{summary_dir: tb}}
    seed: 7
  fit:
    train_dataloader: {LOADER}
    val_dataloader: [{LOADER}, {LOADER}]
    ckpt_path: null
  validate: {{val_dataloader: {LOADER}}}
  validate_all: {{val_dataloaders: {LOADER}, ckpt_paths: [a, b]}}
"""


def test_round_trip_of_a_rich_configuration() -> None:
    config = parse_config(RICH)
    text = to_yaml(config)
    assert parse_config(text) == config
    assert to_yaml(parse_config(text)) == text


def test_round_trip_of_a_small_configuration(load: Load) -> None:
    config = load()
    assert parse_config(to_yaml(config)) == config


def test_defaults_are_written_out(load: Load) -> None:
    data = to_dict(load())
    assert data == yaml.safe_load(to_yaml(load())), "plain values, and numbers that stay numbers"
    init = data["trainer"]["init"]  # type: ignore[index]
    assert init["model"]["vocab_size"] == 50257
    assert init["model"]["output_layer_initializer"]["std"] == pytest.approx(0.02 / 24**0.5)
    assert init["loop"]["eval_frequency"] == 1.0
    assert init["optimizer"] == {
        "AdamW": {
            "lr": 1e-3,
            "betas": [0.9, 0.999],
            "eps": 1e-6,
            "weight_decay": 0.0,
            "correct_bias": True,
        }
    }


def test_a_missing_checkpoint_path_stays_missing(load: Load) -> None:
    """Null would mean a fresh start; absent means the newest one."""
    assert "ckpt_path" not in to_dict(load())["trainer"]["fit"]  # type: ignore[index]
    fresh = load(("  fit:\n", "  fit:\n    ckpt_path: null\n"))
    assert to_dict(fresh)["trainer"]["fit"]["ckpt_path"] is None  # type: ignore[index]
    assert parse_config(to_yaml(fresh)) == fresh != load()


def test_no_evaluation_stays_none(load: Load) -> None:
    never = load(("max_steps: 10", "max_steps: 10\n      eval_frequency: null"))
    assert to_dict(never)["trainer"]["init"]["loop"]["eval_frequency"] is None  # type: ignore[index]


def test_a_gpt3_has_no_key_that_stock_model_zoo_lacks(load: Load) -> None:
    assert "num_virtual_tokens" not in to_yaml(load())
    assert "num_virtual_tokens: 0" in to_yaml(load(("name: gpt3", "name: mediswift")))
