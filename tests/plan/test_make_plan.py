import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modelzoo_mediswift.config.load import load_config
from modelzoo_mediswift.plan.plan import Plan, make_plan

Make = Callable[..., Any]
PARAMS = Path(__file__).parents[2] / "params"
RUNS = sorted(
    p for p in PARAMS.rglob("*.yaml") if not {"sweeps", "recipe"} & {*p.parts, *p.stem.split("_")}
)


def plan(name: str) -> Plan:
    return make_plan(load_config(PARAMS / f"{name}.yaml"))


# Paper, Table 5: parameters. Table 6: FLOPs in 1e20, and in units of the dense model's.
@pytest.mark.parametrize(
    ("name", "params", "flops", "ratio"),
    [
        ("med_dense", 302e6, 2.677, 1.00),
        ("med_s50", 302e6, 1.727, 0.64),
        ("med_s75", 302e6, 1.252, 0.46),
        ("large_dense", 510e6, 4.248, 1.00),
        ("large_s50", 510e6, 2.645, 0.62),
        ("large_s75", 510e6, 1.8432, 0.43),  # printed 1.840: see test_plan_flops
        ("xl_dense", 1.21e9, 9.148, 1.00),
        ("xl_s50", 1.21e9, 5.348, 0.58),
        ("xl_s75", 1.21e9, 3.448, 0.38),
    ],
)
def test_parameters_and_flops_are_the_papers(
    name: str, params: float, flops: float, ratio: float
) -> None:
    result = plan(name)
    assert result.n_params_paper == pytest.approx(params, rel=0.003)
    assert result.flops is not None
    assert result.flops.total / 1e20 == pytest.approx(flops, abs=0.0005)
    assert result.flops_ratio == pytest.approx(ratio, abs=0.01)
    assert result.tokens == 104_857_600_000
    assert (result.warmup_steps, result.warmup_share) == (20_000, 0.1)


@pytest.mark.parametrize(
    ("name", "paper", "total", "nonzero"),
    [
        # 24 * 12 * 1024^2; + (42384 + 1024) * 1024 + 24 * 13 * 1024 + 2048; - 75 % of the first
        ("med_s75", 301_989_888, 346_761_216, 120_268_800),
        # 18 * 12 * 1536^2; + (42384 + 1024) * 1536 + 18 * 13 * 1536 + 3072; - 50 %
        ("large_s50", 509_607_936, 576_645_120, 321_841_152),
        # 24 * 12 * 2048^2; + (42384 + 1024) * 2048 + 24 * 13 * 2048 + 4096; - 75 %
        ("xl_s75", 1_207_959_552, 1_297_502_208, 391_532_544),
        # 4 * 12 * 128^2; + (4096 + 256) * 128 + 4 * 13 * 128 + 256; - 75 %
        ("tiny_s75", 786_432, 1_088_256, 498_432),
        # the same, + 9 * 128, dense
        ("finetune/pubmedqa_tiny", 786_432, 1_089_408, 1_089_408),
    ],
)
def test_parameters(name: str, paper: int, total: int, nonzero: int) -> None:
    result = plan(name)
    assert (result.n_params_paper, result.n_params_total, result.n_params_nonzero) == (
        paper,
        total,
        nonzero,
    )


def test_shares_of_xl() -> None:
    """Attention takes 7.0 % and the vocabulary 9.9 % of dense XL's FLOPs."""
    flops = plan("xl_dense").flops_per_token
    assert (flops.attention + flops.softmax) / flops.total == pytest.approx(0.070, abs=0.0005)
    assert flops.vocabulary / flops.total == pytest.approx(0.099, abs=0.0005)


def test_state_of_xl() -> None:
    """16 bytes for each of 1,297,502,208 parameters, and a byte for each masked one."""
    memory = plan("xl_s75").memory
    assert memory is not None
    assert memory.weights == memory.gradients == 5_190_008_832
    assert memory.optimizer == 10_380_017_664
    assert memory.masks == 1_207_959_552
    assert plan("xl_s75").checkpoint_bytes == 3 * 5_190_008_832 + 1_207_959_552
    assert plan("xl_dense").checkpoint_bytes == 3 * 5_190_008_832


def test_filters_that_match_some_matrices(config: Make, block: type) -> None:
    """Only feed-forward: 2 * 128 weights, of which 64 stay; the attention's 2 * 64 all do."""
    result = make_plan(config(sparsity=(block(0.75, ("*linear_layer.weight",)),)))
    assert result.flops_per_token.linear == 6 * (2 * 32 + 2 * 64)
    assert result.dense_flops_per_token.linear == 6 * 2 * 192
    assert result.flops_per_token.vocabulary == result.dense_flops_per_token.vocabulary


def test_masks_outside_the_decoder_save_no_flops(config: Make, block: type) -> None:
    result = make_plan(config(sparsity=(block(0.5, ("*word_embeddings*",)),)))
    assert result.n_params_total - result.n_params_nonzero == 20
    assert result.flops_ratio == 1.0


def test_accumulated_batches_count_as_tokens(config: Make) -> None:
    """3 sequences * 2 accumulated batches * 5 tokens * 7 steps."""
    result = make_plan(config(loop={"max_steps": 7, "grad_accum_steps": 2}))
    assert (result.batch_size, result.sequence_length, result.steps) == (6, 5, 7)
    assert result.tokens == 210
    assert result.flops == result.flops_per_token.times(210)
    assert result.micro_batch_size == 3, "one batch at a time"


def test_the_dataloader_may_set_the_length(config: Make) -> None:
    result = make_plan(
        config(fit={"batch_size": 3, "max_sequence_length": 4}, loop={"max_steps": 1})
    )
    assert (result.sequence_length, result.tokens) == (4, 12)


@pytest.mark.parametrize(
    ("loop", "schedule", "steps"),
    [
        ({"max_steps": 7}, 100, 7),
        ({"num_steps": 5, "max_steps": 7}, 100, 5),
        ({"num_steps": 9, "max_steps": 7}, 100, 9),
        ({"num_epochs": 2, "steps_per_epoch": 3}, 100, 6),
        ({"num_epochs": 2, "steps_per_epoch": 9, "grad_accum_steps": 2}, 100, 8),
        ({"num_epochs": 2, "steps_per_epoch": 3, "max_steps": 4}, 100, 4),
        ({"num_epochs": 2}, 100, 100),
        ({"num_epochs": 2}, None, None),
    ],
)
def test_steps_come_from_the_loop_or_the_schedule(
    config: Make, loop: dict[str, int], schedule: int | None, steps: int | None
) -> None:
    result = make_plan(config(loop=loop, schedule_steps=schedule, warmup_steps=2))
    assert result.steps == steps
    batch = 3 * loop.get("grad_accum_steps", 1)
    assert result.tokens == (None if steps is None else batch * 5 * steps)
    assert result.warmup_share == (None if steps is None else 2 / steps)
    assert (result.flops is None) == (steps is None)


def test_micro_batches(config: Make) -> None:
    whole = make_plan(config()).memory
    single = make_plan(config(micro_batch_size=1)).memory
    assert make_plan(config(micro_batch_size=8)).memory == whole, "a batch has 3"
    assert whole is not None
    assert single is not None
    assert single.activations == single.activations_per_sequence == whole.activations / 3
    assert single.weights == whole.weights


def test_compiled_unless_the_file_says_no(config: Make) -> None:
    on_gpu, eager = (
        make_plan(config(precision=True)),
        make_plan(config(precision=True, compile=False)),
    )
    assert on_gpu.memory == make_plan(config(precision=True, compile=True)).memory
    assert eager.memory == make_plan(config(precision=True), compiled=False).memory
    assert on_gpu.memory is not None
    assert eager.memory is not None
    assert on_gpu.memory.activations < eager.memory.activations


def test_gradients_of_earlier_micro_batches(config: Make) -> None:
    """There are some where a step is made in parts."""

    def earlier(**settings: Any) -> int:
        memory = make_plan(config(**settings)).memory
        assert memory is not None
        return memory.earlier_gradients

    assert earlier() == 0
    assert earlier(micro_batch_size=1) == earlier(loop={"grad_accum_steps": 2}) == 4 * 556


def test_precision_decides_which_memory_is_shown(config: Make) -> None:
    single = make_plan(config(precision=None))
    off = make_plan(config(precision=False))
    mixed = make_plan(config(precision=True))
    assert single.memory == single.memory_float32 == off.memory
    assert mixed.memory is not None
    assert mixed.memory_float32 == single.memory
    assert mixed.memory.half_weights > 0


def test_without_training_only_the_model_is_planned(config: Make) -> None:
    result = make_plan(config(fit=None, loop={"num_epochs": 1}))
    assert result.n_params_total == 556
    assert (result.batch_size, result.tokens, result.memory) == (None, None, None)
    assert json.dumps(result.to_dict())


def test_the_json_holds_the_whole_plan() -> None:
    result = json.loads(json.dumps(plan("xl_s75").to_dict()))
    assert result["n_params_paper"] == 1_207_959_552
    assert result["n_params_total"] == 1_297_502_208
    assert result["n_params_nonzero"] == 391_532_544
    assert result["sparsity"]["query, key, value"] == 0.75
    assert result["sparsity"]["word embeddings"] == 0.0
    assert result["tokens"] == 104_857_600_000
    terms = result["flops"]
    assert terms["total"] == sum(terms[k] for k in ("linear", "vocabulary", "attention", "softmax"))
    assert result["flops_dense"]["total"] / 1e20 == pytest.approx(9.148, abs=0.0005)
    assert result["flops_ratio"] == pytest.approx(0.377, abs=0.0005)
    assert result["flops_per_token"]["total"] * result["tokens"] == terms["total"]
    assert result["memory_bytes"]["weights"] == 5_190_008_832
    assert result["memory_bytes_float32"]["half_weights"] == 0
    assert result["checkpoint_bytes"] == 16_777_986_048


@pytest.mark.parametrize("path", RUNS, ids=lambda path: path.stem)
def test_numbers_in_the_comments_are_true(path: Path) -> None:
    config = load_config(path)
    result, model = make_plan(config), config.init.model
    assert result.tokens is not None
    assert result.steps is not None
    per_step = result.tokens // result.steps
    matrices = [kind for kind in result.kinds if kind.kind.startswith(("query", "att", "feed"))]
    true = {
        result.n_params_paper,
        result.n_params_total,
        result.n_params_nonzero,
        sum(kind.nonzero for kind in matrices),
        result.n_params_total - model.num_virtual_tokens * model.hidden_size,
        result.tokens,
        per_step,
        per_step * result.warmup_steps,
        result.steps,
    }
    comment = " ".join(re.findall(r"^#.*", path.read_text(), flags=re.MULTILINE))
    written = {int(n.replace(",", "")) for n in re.findall(r"\d[\d,]{5,}\d", comment)}
    assert written
    assert written <= true


@pytest.mark.parametrize(
    ("loop", "steps"), [({"num_epochs": 2}, 50), ({"num_epochs": 2, "steps_per_epoch": 3}, 6)]
)
def test_another_batch_size(config: Make, loop: dict[str, int], steps: int) -> None:
    """Epochs become shorter in steps, unless the file counts them in steps."""
    result = make_plan(config(loop=loop, schedule_steps=100), batch_size=6)
    assert (result.batch_size, result.micro_batch_size, result.steps) == (6, 6, steps)
    assert result.tokens == 6 * 5 * steps
