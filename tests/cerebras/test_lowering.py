"""What `run.py CSX --validate_only` sends to the compiler, counted by formula."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from modelzoo_mediswift.cerebras.cirh import Program, read_program

pytestmark = pytest.mark.cerebras
ROOT = Path(__file__).parents[2]
MATRICES = 6  # of a layer: q, k, v, output, and two in the feed-forward block


def validate(*flags: str) -> subprocess.CompletedProcess[str]:
    """The library has one backend per process, so each program is lowered in its own."""
    command = [sys.executable, str(ROOT / "run.py"), "CSX", "--validate_only", *flags]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


def lowered(model_dir: str, program: int = 1) -> Program:
    folder = Path(model_dir) / "cerebras_logs" / "executors" / f"{program:06d}"
    return read_program(folder / "cirh.mlir")


def expected_products(
    *, layers: int, d: int, heads: int, filter_size: int, vocab: int, batch: int, length: int
) -> Counter[tuple[str, str, str]]:
    """Model Zoo's GPT-3: three products per matrix (forward, input's and weight's gradient),
    six per attention (scores and context, each with two gradients)."""
    n, f, w = batch * length, filter_size, d // heads
    scores, vectors = f"{batch}x{heads}x{length}x{length}", f"{batch}x{heads}x{length}x{w}"
    products: Counter[tuple[str, str, str]] = Counter()

    def add(count: int, left: str, right: str, result: str) -> None:
        products[f"{left}xf16", f"{right}xf16", f"{result}xf16"] += count

    add(8 * layers, f"{n}x{d}", f"{d}x{d}", f"{n}x{d}")  # four projections and their inputs'
    add(4 * layers, f"{n}x{d}", f"{n}x{d}", f"{d}x{d}")  # ... and their weights' gradients
    add(layers, f"{n}x{d}", f"{f}x{d}", f"{n}x{f}")  # feed-forward
    add(layers, f"{n}x{f}", f"{d}x{f}", f"{n}x{d}")
    add(layers, f"{n}x{d}", f"{d}x{f}", f"{n}x{f}")  # gradients of its inputs
    add(layers, f"{n}x{f}", f"{f}x{d}", f"{n}x{d}")
    add(layers, f"{n}x{d}", f"{n}x{f}", f"{d}x{f}")  # ... and of its weights
    add(layers, f"{n}x{f}", f"{n}x{d}", f"{f}x{d}")
    add(4 * layers, scores, vectors, vectors)  # context; gradients of q, k, v
    add(2 * layers, vectors, vectors, scores)  # scores; gradient of the softmax
    add(1, f"{n}x{d}", f"{vocab}x{d}", f"{n}x{vocab}")  # output projection
    add(1, f"{n}x{vocab}", f"{vocab}x{d}", f"{n}x{d}")
    add(1, f"{n}x{vocab}", f"{n}x{d}", f"{vocab}x{d}")
    return products


@pytest.fixture
def csx_yaml(run_files: Path) -> Path:
    """The small run as the paper's are: no dropout, cbfloat16, dynamic loss scaling."""
    text = (run_files / "sparse.yaml").read_text()
    path = run_files / "csx.yaml"
    path.write_text(
        text.replace("dropout_rate: 0.1", "dropout_rate: 0.0").replace(
            "enabled: false", "fp16_type: cbfloat16, loss_scaling_factor: dynamic"
        )
    )
    return path


SMALL = {"layers": 2, "d": 32, "heads": 4, "filter_size": 128, "vocab": 64, "batch": 4}


def test_training_and_evaluation_lower_to_model_zoos_products(csx_yaml):
    done = validate("-p", "csx.yaml")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "Compile validated locally"
    train, evaluation = lowered("run", 1), lowered("run", 2)
    assert train.products == expected_products(**SMALL, length=16)
    assert train.operations["cirh.Softmax"] == train.operations["cirh.Gelu"] == 2
    assert train.operations["cirh.LayerNormGrad"] == 5
    assert evaluation.products.total() == 2 * (MATRICES + 2) + 1
    matrices = [name for name in train.sparsity if not name.startswith("state.optimizer")]
    assert len(matrices) == 2 * MATRICES
    assert len(train.sparsity) == 3 * len(matrices)  # with their two moments
    assert set(train.sparsity.values()) == {0.75}
    assert not any(word in name for name in matrices for word in ("embedding", "norm", "bias"))


def test_a_dense_model_with_a_soft_prompt_lowers(csx_yaml):
    text = csx_yaml.read_text().replace(
        "name: gpt3", "name: mediswift\n      num_virtual_tokens: 3"
    )
    csx_yaml.write_text(text.replace("    sparsity: {algorithm: static, sparsity: 0.75}\n", ""))
    done = validate("-p", "csx.yaml")
    assert done.returncode == 0, done.stderr
    program = lowered("run")
    assert program.sparsity == {}
    assert program.products == expected_products(**SMALL, length=16)
    text = (Path("run/cerebras_logs/executors/000001/cirh.mlir")).read_text()
    assert 'tf.resource_name = "state.model.prompt_embedding.weight"' in text


def test_what_a_system_refuses_is_refused_by_name(csx_yaml):
    good = csx_yaml.read_text()
    for old, new, message in [
        ("max_steps: 20", "max_steps: 20, grad_accum_steps: 2", "expected 1, got 2"),
        ("fp16_type", "fp8: rowwise, fp16_type", "precision.fp8: is for a GPU, not for CSX"),
        ("shuffle: true", "shuffle: true\n      drop_last: false", "batches of one size"),
    ]:
        csx_yaml.write_text(good.replace(old, new))
        done = validate("-p", "csx.yaml")
        assert done.returncode == 2
        assert message in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_the_papers_xl_at_75_percent(tmp_path):
    params = ROOT / "params" / "xl_s75.yaml"
    done = validate("-p", str(params), "--model_dir", str(tmp_path))
    assert done.returncode == 0, done.stderr
    program = lowered(str(tmp_path))
    assert program.products == expected_products(
        layers=24, d=2048, heads=16, filter_size=8192, vocab=42384, batch=512, length=1024
    )
    assert program.products.total() == 579
    assert Counter(program.sparsity.values()) == {0.75: 432}
    assert program.operations["cirh.SparseSoftmaxCrossEntropyWithLogits"] == 1
