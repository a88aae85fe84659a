"""FP8 on a CPU, where torchao computes the same roundings without tensor cores."""

import json
import math
import shutil
from collections.abc import Iterator
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch._dynamo.utils import counters

from modelzoo_mediswift import build
from modelzoo_mediswift.checkpoint.directory import load_checkpoint
from modelzoo_mediswift.cli.run import main
from modelzoo_mediswift.data.batch import Batch
from modelzoo_mediswift.engine import precision
from modelzoo_mediswift.engine.fp8 import use_fp8
from modelzoo_mediswift.engine.parallel import distribute
from modelzoo_mediswift.engine.torch_engine import TorchEngine, Update
from modelzoo_mediswift.model.gpt3 import GPT3
from modelzoo_mediswift.model.loss import LossModule
from modelzoo_mediswift.optim.adamw import AdamW
from modelzoo_mediswift.optim.schedules import ConstantLR
from modelzoo_mediswift.sparsity.filters import SparsityRule
from modelzoo_mediswift.sparsity.masking import Masking
from modelzoo_mediswift.sparsity.schedules import Every

# torchao asks for autocast's type by a name that torch has given up.
pytestmark = pytest.mark.filterwarnings(
    "ignore:torch.get_autocast_gpu_dtype.. is deprecated:DeprecationWarning"
)
needs_torchao = pytest.mark.skipif(not find_spec("torchao"), reason="torchao is not installed")
recipes = pytest.mark.parametrize("recipe", ["tensorwise", "rowwise", "rowwise_with_gw_hp"])

CPU = torch.device("cpu")
LINEAR_LAYERS = 2 * 6
# What a bias of the keys adds to all scores of a query, softmax takes away.
NO_GRADIENT = {
    f"gpt3.model.transformer_decoder.layers.{i}.self_attn.proj_k_dense_layer.bias" for i in (0, 1)
}

# Rounding to e4m3 (e5m2 for tensorwise gradients) is off by 2**-4 (2**-3) at worst; its root mean
# square over significands as Benford's law spreads them is 0.42 of that. On the way to a gradient
# lie two layers of four products, each forward and backward, each of two rounded factors: 32
# errors, which add up in squares.
GRADIENT_ERROR = {
    "tensorwise": 0.42 * 2**-3 * math.sqrt(32),
    "rowwise": 0.42 * 2**-4 * math.sqrt(32),
    "rowwise_with_gw_hp": 0.42 * 2**-4 * math.sqrt(32),
}


@pytest.fixture
def cuda_autocast() -> Iterator[None]:
    """torchao's layers ask for the autocast of CUDA, wherever they are."""
    before = torch.get_autocast_dtype("cuda")
    torch.set_autocast_dtype("cuda", torch.bfloat16)
    torch.set_autocast_enabled("cuda", True)
    yield
    torch.set_autocast_enabled("cuda", False)
    torch.set_autocast_dtype("cuda", before)


def make_model(layers: int = 2) -> GPT3:
    return GPT3(
        vocab_size=40,
        hidden_size=32,
        num_hidden_layers=layers,
        num_heads=2,
        filter_size=64,
        max_position_embeddings=16,
    )


def make_engine(
    recipe: str | None, algorithm: str = "static", layers: int = 2, **compiler: str
) -> TorchEngine:
    model = make_model(layers=layers)
    if recipe:
        use_fp8(model, recipe, CPU, emulate=True)
    rule = SparsityRule(0.75, algorithm=algorithm, updates=Every(2))
    masking = Masking(model, [rule], seed=0)
    optimizer = AdamW(model, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1)
    update = Update(optimizer, ConstantLR(1e-2), masking, max_gradient_norm=1.0)
    module = distribute(model, CPU)
    if compiler:
        module.compile_parts(**compiler)
    return TorchEngine(model, CPU, update, autocast=torch.bfloat16, module=module, fp8=recipe)


def batch(length: int = 16) -> Batch:
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(40, (6, length + 1), generator=generator, dtype=torch.int32)
    return Batch(ids[:, :-1], torch.ones(6, length, dtype=torch.int32), ids[:, 1:], 0, 6)


def train(engine: TorchEngine, start: int, stop: int) -> list[float]:
    losses = []
    batches = [batch()] * (stop - start)
    engine.train(batches, start, stop, 1, lambda r: losses.append(r.loss) or True)
    return losses


def gradients(module: torch.nn.Module, batch: Batch) -> dict[str, Tensor]:
    module.zero_grad()
    with torch.autocast("cpu", torch.bfloat16):
        loss, _ = module(batch.input_ids, batch.labels.flatten().long())
    loss.backward()
    return {name: p.grad for name, p in module.named_parameters()}


def gradient_error(recipe: str) -> float:
    """The largest error of a parameter's gradient against bf16's, as a share of its norm."""
    expected, found = (gradients(make_engine(r).module, batch()) for r in (None, recipe))
    assert expected.keys() == found.keys()
    return max(
        float((found[name] - expected[name]).norm() / expected[name].norm())
        for name in expected.keys() - NO_GRADIENT
    )


def loss_error(recipe: str) -> float:
    """The largest difference of 20 losses from bf16's, as a share of their fall."""
    expected, found = train(make_engine(None), 0, 20), train(make_engine(recipe), 0, 20)
    assert found != expected
    assert expected[0] - expected[-1] > 2
    largest = max(abs(a - b) for a, b in zip(expected, found, strict=True))
    return largest / (expected[0] - expected[-1])


@needs_torchao
@recipes
def test_gradients_and_losses_are_bf16s_within_the_precision_of_fp8(recipe, cuda_autocast):
    assert gradient_error(recipe) < GRADIENT_ERROR[recipe]
    # An error of the gradient that points anywhere costs the square of it.
    assert loss_error(recipe) < GRADIENT_ERROR[recipe] ** 2


BROKEN = {
    "no gradient of the input": lambda x, w: (torch.zeros_like(x), w),
    "no gradient of the weight": lambda x, w: (x, torch.zeros_like(w)),
    "another input's gradient": lambda x, w: (x.flip(-1), w),
}


@needs_torchao
@recipes
@pytest.mark.parametrize("how", BROKEN)
def test_that_precision_is_exceeded_by_a_broken_backward_pass(
    recipe, how, cuda_autocast, monkeypatch
):
    from torchao.float8.float8_linear import matmul_with_hp_or_float8_args as product

    backward = product.backward

    def broken(context, gradient):
        x, w, *rest = backward(context, gradient)
        return (*BROKEN[how](x, w), *rest)

    monkeypatch.setattr(product, "backward", staticmethod(broken))
    assert gradient_error(recipe) > GRADIENT_ERROR[recipe]
    assert loss_error(recipe) > GRADIENT_ERROR[recipe] ** 2


@needs_torchao
def test_the_decoders_matrices_are_multiplied_in_fp8_and_nothing_else(cuda_autocast):
    from torchao.float8.float8_linear import Float8Linear

    model = make_model()
    before = dict(model.named_parameters())
    use_fp8(model, "rowwise", CPU, emulate=True)
    after = dict(model.named_parameters())
    assert list(before) == list(after)
    assert all(before[name] is parameter for name, parameter in after.items())
    names = {name for name, module in model.named_modules() if isinstance(module, Float8Linear)}
    matrices = {n.removesuffix(".weight") for n, p in after.items() if p.dim() == 2}
    assert len(names) == LINEAR_LAYERS
    assert {n.rpartition(".")[-1] for n in matrices - names} == {"word_embeddings", "embed"}


@needs_torchao
@recipes
def test_what_reaches_the_tensor_cores_has_the_sides_and_the_layout_that_they_take(
    recipe, cuda_autocast, monkeypatch
):
    """cuBLAS multiplies FP8 row-major by column-major, in sums of a multiple of 16."""
    seen = []

    def product(a, b, *, scale_a, scale_b, out_dtype, **_):
        assert {a.dtype, b.dtype} <= {torch.float8_e4m3fn, torch.float8_e5m2}
        assert a.is_contiguous()
        assert b.t().is_contiguous()
        assert a.shape[1] % 16 == b.shape[1] % 16 == 0
        assert scale_a.numel() in (1, a.shape[0])
        assert scale_b.numel() in (1, b.shape[1])
        assert out_dtype == torch.bfloat16
        seen.append(a.shape)
        return ((a.float() @ b.float()) * scale_a * scale_b).to(out_dtype)

    monkeypatch.setattr(torch, "_scaled_mm", product)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 9))
    real, emulated = make_model(), make_model()
    use_fp8(real, recipe, torch.device("cuda"))
    use_fp8(emulated, recipe, CPU, emulate=True)
    results = []
    for model in (real, emulated):
        results.append(gradients(LossModule(model), batch(length=15)))  # 90 tokens: no multiple
    assert len(seen) == LINEAR_LAYERS * (2 if recipe == "rowwise_with_gw_hp" else 3)
    for name in results[0].keys() - NO_GRADIENT:
        found, expected = (result[name] for result in results)
        # Sums in another order, rounded to bf16 and, now and then, to the next number of FP8.
        assert (found - expected).norm() <= 2**-6 * expected.norm(), name


@needs_torchao
@pytest.mark.parametrize("algorithm", ["static", "rigl"])
def test_masked_weights_stay_exactly_zero(algorithm, cuda_autocast):
    engine = make_engine("tensorwise", algorithm)
    parameters = engine.update.sparsity.parameters
    before = [p.mask.clone() for p in parameters]
    train(engine, 0, 6)
    for parameter, mask in zip(parameters, before, strict=True):
        assert torch.count_nonzero(parameter.weight[~parameter.mask]) == 0
        assert int(parameter.mask.sum()) == mask.numel() // 4
        assert parameter.mask.equal(mask) == (algorithm == "static")


@needs_torchao
@pytest.mark.parametrize("recipes", [("rowwise", None), (None, "rowwise"), ("rowwise", "rowwise")])
def test_a_state_continues_with_fp8_and_without(recipes, cuda_autocast):
    first, second = recipes
    straight, saved, resumed = (make_engine(r) for r in (first, first, second))
    losses = train(straight, 0, 10)
    train(saved, 0, 5)
    state = saved.state()
    plain = make_engine(None).state()
    assert {n: (t.shape, t.dtype) for n, t in state.model.items()} == {
        n: (t.shape, t.dtype) for n, t in plain.model.items()
    }
    resumed.load_state(state)
    if first == second:
        assert train(resumed, 5, 10) == losses[5:]
    else:
        tolerance = GRADIENT_ERROR["rowwise"] ** 2 * (losses[0] - losses[-1])
        assert train(resumed, 5, 10) == pytest.approx(losses[5:], abs=tolerance)


@needs_torchao
@pytest.mark.filterwarnings("ignore:.*should not be instantiated")  # PyTorch's compiler does it
@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["tensorwise", "rowwise"])
def test_it_compiles_without_graph_breaks_and_sequences_of_any_length_need_few_programs(
    recipe, cuda_autocast
):
    """`fullgraph` raises where Python would have to come between."""
    torch._dynamo.reset()
    counters.clear()
    plain = make_engine(recipe, layers=1).module
    compiled = make_engine(recipe, layers=1, backend="aot_eager").module
    for length in (16, 9, 15, 3, 12):
        found, expected = (gradients(m, batch(length)) for m in (compiled, plain))
        for name in found.keys() - NO_GRADIENT:
            error = (found[name] - expected[name]).norm()
            assert error < GRADIENT_ERROR[recipe] * expected[name].norm(), name
    assert counters["stats"]["unique_graphs"] <= 4


def fp8_run(name: str, recipe: str | None) -> str:
    text = Path("sparse.yaml").read_text()
    assert "enabled: false, " in text
    path = Path(f"{name}.yaml")
    path.write_text(text.replace("enabled: false, ", f"fp8: {recipe or 'null'}, "))
    return str(path)


@needs_torchao
def test_a_run_by_its_key_and_its_checkpoints_with_and_without(
    run_files, cuda_autocast, monkeypatch, capsys
):
    monkeypatch.setattr(build, "use_fp8", partial(use_fp8, emulate=True))
    monkeypatch.setattr(precision, "cpu_has_bf16", lambda: True)
    bf16, fp8 = fp8_run("bf16", None), fp8_run("fp8", "tensorwise")
    for file, folder in ((bf16, "bf16"), (fp8, "fp8")):
        assert main(["CPU", "-p", file, "-o", folder]) == 0
        shutil.copytree(f"{folder}/checkpoint_10", f"{folder}_on/checkpoint_10")
    assert "bf16 mixed precision with fp8 (tensorwise)" in capsys.readouterr().err
    record = json.loads(Path("fp8/run_record.json").read_text())
    assert record["device"].endswith("bf16 mixed precision with fp8 (tensorwise)")
    assert record["versions"]["torchao"] == version("torchao")
    one, other = (load_checkpoint(Path(d) / "checkpoint_20") for d in ("bf16", "fp8"))
    for first, second in ((one.model, other.model), (one.training, other.training)):
        assert first.keys() == second.keys()
    assert main(["CPU", "-p", fp8, "-o", "bf16_on"]) == 0
    assert main(["CPU", "-p", bf16, "-o", "fp8_on"]) == 0
    capsys.readouterr()
    # An evaluation of the file by itself is the one that training made.
    events = map(json.loads, Path("fp8/log.jsonl").read_text().splitlines())
    loss = next(e["loss"] for e in events if e["event"] == "eval" and e["step"] == 20)
    assert main(["CPU", "-p", fp8, "-o", "fp8", "-m", "eval"]) == 0
    assert f"validation: loss {loss:.4f} " in capsys.readouterr().out
