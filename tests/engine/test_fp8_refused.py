"""Where FP8 cannot be had, one line says why; who does not ask for it pays nothing."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from modelzoo_mediswift.cli.run import main
from modelzoo_mediswift.engine.fp8 import use_fp8
from modelzoo_mediswift.errors import UserError
from modelzoo_mediswift.model.gpt3 import GPT3

KEY = "trainer.init.precision.fp8: "


def test_a_cpu_is_refused_in_a_line(run_files, capsys):
    text = Path("sparse.yaml").read_text()
    assert "enabled: false, " in text
    Path("sparse.yaml").write_text(text.replace("enabled: false, ", "fp8: rowwise, "))
    for flags in ((), ("-m", "eval", "--checkpoint_path", "none")):
        assert main(["CPU", "-p", "sparse.yaml", *flags]) == 2
        assert capsys.readouterr().err == (
            f"error: {KEY}needs a GPU with FP8 tensor cores (compute capability 8.9 or higher), "
            "not a CPU; leave the key out\n"
        )


def complaint(monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int]) -> str:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA A100-SXM4-80GB")
    model = GPT3(
        vocab_size=40,
        hidden_size=40,
        num_hidden_layers=1,
        num_heads=2,
        filter_size=64,
        max_position_embeddings=16,
    )
    with pytest.raises(UserError) as caught:
        use_fp8(model, "rowwise", torch.device("cuda"))
    text = str(caught.value)
    assert text.startswith(KEY)
    return text.removeprefix(KEY)


def test_a_gpu_without_fp8_is_refused_by_its_capability(monkeypatch):
    assert complaint(monkeypatch, (8, 0)) == (
        "needs a GPU with FP8 tensor cores (compute capability 8.9 or higher); "
        "NVIDIA A100-SXM4-80GB has 8.0; leave the key out"
    )


def test_without_torchao_a_line_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchao", None)
    assert complaint(monkeypatch, (9, 0)) == (
        'torchao is not installed; pip install -e ".[fp8]", or leave the key out'
    )


def test_a_torchao_that_this_torch_is_too_old_for(monkeypatch, tmp_path):
    (tmp_path / "torchao").mkdir()
    (tmp_path / "torchao" / "__init__.py").write_text("import torch\ntorch.int0\n")
    for name in [n for n in sys.modules if n.partition(".")[0] == "torchao"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(tmp_path)
    assert complaint(monkeypatch, (9, 0)) == (
        f"the installed torchao does not work with torch {torch.__version__}, which may be too "
        "old for it (module 'torch' has no attribute 'int0')"
    )


@pytest.mark.skipif(not find_spec("torchao"), reason="torchao is not installed")
def test_sides_that_tensor_cores_do_not_take_are_refused(monkeypatch):
    assert complaint(monkeypatch, (9, 0)) == (
        "FP8 needs hidden_size and filter_size in multiples of 16; "
        "layers.0.self_attn.proj_q_dense_layer.weight is 40 x 40; leave the key out"
    )


def test_torchao_is_imported_by_those_alone_who_ask_for_it():
    check = "import modelzoo_mediswift.build, sys; sys.exit('torchao' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
