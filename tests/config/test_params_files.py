"""The files in params/ against the numbers that the paper prints, typed here by hand."""

import math
import re
from pathlib import Path

import pytest

from modelzoo_mediswift.config.callbacks import LoadCheckpointStates
from modelzoo_mediswift.config.dump import to_yaml
from modelzoo_mediswift.config.fine_tuning import DensifyOnLoad, EarlyStopping
from modelzoo_mediswift.config.load import load_config, load_stages, parse_config
from modelzoo_mediswift.config.model import TruncatedNormal
from modelzoo_mediswift.config.optimizer import AdamW, CosineDecayLR, LinearLR, SequentialLR
from modelzoo_mediswift.config.sparsity import SparsityConfig
from modelzoo_mediswift.config.sweep import load_sweep
from modelzoo_mediswift.config.trainer import TrainerConfig

PARAMS = Path(__file__).parents[2] / "params"
FILES = sorted(p for p in PARAMS.rglob("*.yaml") if "sweeps" not in p.parts)
SINGLE = [path for path in FILES if "recipe" not in path.stem]

# Table 5: layers, d_model, heads.
SIZES = {"med": (24, 1024, 16), "large": (18, 1536, 12), "xl": (24, 2048, 16)}
LEVELS = {"dense": None, "s50": 0.5, "s75": 0.75}
NINE = [f"{size}_{level}" for size in SIZES for level in LEVELS]
MATRICES = ("*proj_[qkv]_dense_layer.weight", "*proj_output_dense_layer.weight",
            "*linear_layer.weight")  # fmt: skip


def params(name: str) -> TrainerConfig:
    return load_config(PARAMS / f"{name}.yaml")


def warm_up_and_cosine(steps: int, warm_up: int, peak: float, end: float) -> SequentialLR:
    return SequentialLR(
        schedulers=(
            LinearLR(initial_learning_rate=0.0, end_learning_rate=peak, total_iters=warm_up),
            CosineDecayLR(
                initial_learning_rate=peak, end_learning_rate=end, total_iters=steps - warm_up
            ),
        )
    )


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_file_loads_and_survives_the_round_trip(path: Path) -> None:
    stages = load_stages(path)
    assert len(stages) == (1 if path in SINGLE else 3)
    for config in stages:
        assert parse_config(to_yaml(config)) == config


# Appendix A.2 and A.3.
PAPER_GRIDS = {
    "pubmedqa_xl_s75": ("accuracy", (8, 16, 32, 64), (2e-4, 1e-4, 5e-5, 2.5e-5)),
    "hoc_xl_s75": ("micro_f1", (16, 32, 64), (8e-5, 4e-5, 2e-5, 1e-5)),
}


@pytest.mark.parametrize("name", PAPER_GRIDS)
def test_grids_of_the_paper(name: str) -> None:
    sweep = load_sweep(PARAMS / f"sweeps/{name}.yaml")
    assert (sweep.metric, sweep.batch_size, sweep.learning_rate) == PAPER_GRIDS[name]
    assert len(sweep.seeds) == 3
    assert (sweep.warmup, sweep.final_rate) == (0.1, 0.1)


def test_every_sweep_varies_a_file_that_is_there() -> None:
    paths = sorted((PARAMS / "sweeps").glob("*.yaml"))
    assert paths
    for path in paths:
        sweep = load_sweep(path)
        config = load_stages(PARAMS.parent / sweep.params)[(sweep.stage or 1) - 1]
        assert config.init.callback(EarlyStopping) is not None
        assert config.init.loop.num_epochs is not None


def test_the_stages_of_the_recipes() -> None:
    for name, last in (("tiny", 5 * 45), ("xl_s75", 5 * (450 // 32))):
        stages = load_stages(PARAMS / f"finetune/pubmedqa_recipe_{name}.yaml")
        alone = params(f"finetune/pubmedqa_{name}").init
        assert [Path(stage.init.model_dir).name for stage in stages] == ["pqaa", "pqau", "pqal"]
        assert stages[0].fit is not None
        assert stages[0].fit.ckpt_path == params(f"finetune/pubmedqa_{name}").fit.ckpt_path
        for stage in stages:
            init = stage.init
            assert (init.model, init.optimizer, init.precision, init.seed) == (
                alone.model, alone.optimizer, alone.precision, alone.seed,
            )  # fmt: skip
            assert (init.callback(DensifyOnLoad) is not None) == (stage is stages[0])
            assert init.loop.num_epochs == 5
            steps = init.schedule_steps
            assert steps == 5 * init.loop.eval_frequency
            assert init.warmup_steps == round(steps / 10)
        assert stages[2].init.schedule_steps == last


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_file_says_what_it_is(path: Path) -> None:
    first = path.read_text().splitlines()[0]
    assert re.match(r"# (MediSwift|PubMedQA|Hallmarks)", first)


def test_the_papers_nine_and_the_worked_files_are_there() -> None:
    names = {path.relative_to(PARAMS).with_suffix("").as_posix() for path in FILES}
    assert names >= {*NINE, "tiny_s75", "finetune/pubmedqa_tiny", "finetune/pubmedqa_xl_s75"}


@pytest.mark.parametrize("name", NINE)
def test_model_of_the_paper(name: str) -> None:
    layers, width, heads = SIZES[name.split("_")[0]]
    model = params(name).init.model
    assert model.name == "gpt3"
    assert (model.num_hidden_layers, model.hidden_size, model.num_heads) == (layers, width, heads)
    assert model.filter_size == 4 * width
    assert model.vocab_size == 42384
    assert model.max_position_embeddings == 1024
    rates = (model.dropout_rate, model.embedding_dropout_rate, model.attention_dropout_rate)
    assert rates == (0.0, 0.0, 0.0)
    assert model.layer_norm_epsilon == 1e-5
    plain = TruncatedNormal(mean=0.0, std=0.02, a=-0.04, b=0.04)
    assert model.initializer == plain
    assert model.embedding_initializer == plain
    std = 0.02 / math.sqrt(2 * layers)
    output = model.output_layer_initializer
    assert isinstance(output, TruncatedNormal)
    assert output.std == pytest.approx(std, rel=1e-15)
    assert (output.a, output.b) == (-2 * output.std, 2 * output.std)


@pytest.mark.parametrize("name", NINE)
def test_training_of_the_paper(name: str) -> None:
    config = params(name)
    init = config.init
    assert init.optimizer == AdamW(betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1)
    assert init.scheduler == warm_up_and_cosine(200_000, 20_000, 2e-4, 2e-5)
    assert init.loop.max_steps == 200_000
    assert init.precision is not None
    assert init.precision.max_gradient_norm == 1.0
    assert (init.precision.fp16_type, init.precision.loss_scaling_factor) == (
        "cbfloat16",
        "dynamic",
    )
    assert init.seed == 1
    assert init.model_dir == f"./model_dir/{name}"
    assert config.fit is not None
    assert config.fit.train_dataloader.batch_size == 512
    assert config.fit.train_dataloader.shuffle is True
    # 200,000 steps of 512 sequences of 1,024 tokens: Table 5's 104.8576e9.
    assert 200_000 * 512 * init.model.max_position_embeddings == 104_857_600_000


@pytest.mark.parametrize("name", NINE)
def test_sparsity_of_the_paper(name: str) -> None:
    level = LEVELS[name.split("_")[1]]
    expected = () if level is None else (SparsityConfig(sparsity=level, param_filter=MATRICES),)
    assert params(name).init.sparsity == expected


def test_the_nine_differ_in_size_level_and_directory_only() -> None:
    def without_own(name: str) -> TrainerConfig:
        config = params(name)
        xl = params("xl_dense")
        own = {"model": xl.init.model, "sparsity": (), "model_dir": xl.init.model_dir}
        return config.model_copy(update={"init": config.init.model_copy(update=own)})

    assert all(without_own(name) == params("xl_dense") for name in NINE)


def test_the_tiny_model_is_the_one_described() -> None:
    config = params("tiny_s75")
    init, model = config.init, config.init.model
    assert (model.num_hidden_layers, model.hidden_size, model.num_heads) == (4, 128, 4)
    assert (model.filter_size, model.vocab_size, model.max_position_embeddings) == (512, 2048, 256)
    assert init.sparsity == (SparsityConfig(sparsity=0.75, param_filter=MATRICES),)
    assert init.scheduler == warm_up_and_cosine(300, 30, 2e-3, 2e-4)
    assert (init.loop.max_steps, init.loop.eval_frequency) == (300, 100)
    assert (init.checkpoint.steps, init.logging.log_steps) == (100, 10)
    assert init.precision is not None
    assert init.precision.enabled is False
    assert config.fit is not None
    assert config.fit.train_dataloader.batch_size == 16


@pytest.mark.parametrize(
    ("name", "pretraining", "num_virtual_tokens"),
    [
        ("pubmedqa_tiny", "tiny_s75", 9),
        ("pubmedqa_xl_s75", "xl_s75", 9),
        ("hoc_tiny", "tiny_s75", 1),
        ("hoc_xl_s75", "xl_s75", 1),
    ],
)
def test_fine_tuning_fits_its_pretraining(
    name: str, pretraining: str, num_virtual_tokens: int
) -> None:
    fine, before = params(f"finetune/{name}"), params(pretraining)
    changed = {"name": "gpt3", "num_virtual_tokens": 0}
    assert fine.init.model.model_copy(update=changed) == before.init.model
    assert fine.init.model.name == "mediswift"
    assert fine.init.model.num_virtual_tokens == num_virtual_tokens
    assert fine.init.sparsity == (), "dense"
    assert fine.init.callback(DensifyOnLoad) is not None
    states = fine.init.callback(LoadCheckpointStates)
    assert states is not None
    assert states.load_checkpoint_states == "model"
    assert fine.fit is not None
    assert fine.fit.ckpt_path == (
        f"{before.init.model_dir}/checkpoint_{before.init.loop.max_steps}"
    )
    assert fine.init.model_dir != before.init.model_dir


@pytest.mark.parametrize("name", ["gmp", "set", "rigl"])
def test_one_worked_file_per_algorithm_is_tiny_with_other_masks(name: str) -> None:
    tiny, worked = params("tiny_s75").init, params(f"sparsity/{name}").init
    own = {"sparsity": tiny.sparsity, "model_dir": tiny.model_dir, "callbacks": tiny.callbacks}
    assert worked.model_copy(update=own) == tiny
    assert {block.algorithm for block in worked.sparsity} == {name}
    globs = [glob for block in worked.sparsity for glob in block.param_filter or ()]
    assert sorted(globs) == sorted(MATRICES)


def test_fine_tuning_schedules() -> None:
    tiny = params("finetune/pubmedqa_tiny").init
    assert tiny.scheduler == warm_up_and_cosine(400, 40, 6e-4, 6e-5)
    assert tiny.loop.max_steps == 400
    config = params("finetune/pubmedqa_xl_s75")
    assert config.fit is not None
    assert config.fit.train_dataloader.batch_size == 32
    # Fold 0 of PQA-L has 450 questions to train on: 14 full batches of 32 in each of 5 epochs.
    assert config.init.loop.num_epochs == 5
    assert config.init.scheduler == warm_up_and_cosine(5 * (450 // 32), 7, 5e-5, 5e-6)


def test_hallmarks_schedules() -> None:
    tiny = params("finetune/hoc_tiny").init
    assert tiny.scheduler == warm_up_and_cosine(240, 24, 6e-4, 6e-5)
    assert tiny.loop.max_steps == 240
    config = params("finetune/hoc_xl_s75")
    assert config.fit is not None
    assert config.fit.train_dataloader.batch_size == 32
    # 1,108 documents: 34 full batches in each of 100 epochs.
    assert config.init.loop.num_epochs == 100
    assert config.init.scheduler == warm_up_and_cosine(100 * (1108 // 32), 340, 2e-5, 2e-6)
