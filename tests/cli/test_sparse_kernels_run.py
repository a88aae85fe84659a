import json
import shutil
from pathlib import Path

import pytest

from modelzoo_mediswift.checkpoint.directory import load_checkpoint
from modelzoo_mediswift.cli.run import main
from modelzoo_mediswift.kernels import library

pytestmark = pytest.mark.skipif(
    not library.is_available(), reason="not compiled: python setup.py build_ext --inplace"
)


def train(*flags: str) -> dict[int, float]:
    assert main(["CPU", "--params", "sparse.yaml", *flags]) == 0
    lines = (Path(flags[1]) / "log.jsonl").read_text().splitlines()
    events = [json.loads(line) for line in lines]
    return {e["step"]: e["loss"] for e in events if e["event"] == "train"}


def use(layers: str) -> None:
    text = Path("sparse.yaml").read_text()
    key = f"    callbacks: [SparseKernels: {{layers: {layers}}}]\n    loop:"
    Path("sparse.yaml").write_text(text.replace("    loop:", key))


@pytest.mark.parametrize("layers", ["all", "fastest"])
def test_one_key_switches_the_kernels_on(run_files, layers, capsys):
    plain = train("--model_dir", "plain")
    assert "SparseKernels" not in capsys.readouterr().err
    use(layers)
    straight = train("--model_dir", "straight")
    assert ("128 x 32, 75 % sparse" in capsys.readouterr().err) == (layers == "fastest")
    assert list(straight.values()) == pytest.approx(list(plain.values()), rel=1e-5)
    one, other = (load_checkpoint(Path(d) / "checkpoint_20") for d in ("plain", "straight"))
    assert one.model.keys() == other.model.keys()
    for name, tensor in one.model.items():
        assert tensor.shape == other.model[name].shape


def test_stopping_and_resuming_is_bit_identical(run_files):
    use("fastest")
    train("--model_dir", "straight", "--max_steps", "4")
    # What is faster at such a size is chance; the second run starts with the first one's choice.
    shutil.copytree("straight", "parts")
    straight = train("--model_dir", "straight")
    train("--model_dir", "parts", "--max_steps", "13")
    assert train("--model_dir", "parts") == straight
    one, other = (load_checkpoint(Path(d) / "checkpoint_20") for d in ("straight", "parts"))
    for first, second in ((one.model, other.model), (one.training, other.training)):
        assert first.keys() == second.keys()
        for name, tensor in first.items():
            assert tensor.equal(second[name]), name
