"""What is said where a GPU is asked for and there is none, or none that can be used."""

import warnings

import pytest
import torch

from modelzoo_mediswift.cli.run import main
from modelzoo_mediswift.engine.devices import find_gpu, gpu_of_worker
from modelzoo_mediswift.errors import UserError


def refusal(number: int | None = None) -> str:
    with pytest.raises(UserError) as found:
        find_gpu(number)
    return str(found.value)


@pytest.fixture
def cuda_build(monkeypatch):
    """PyTorch as it is on a machine without a GPU, built with CUDA."""
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.mark.skipif(torch.version.cuda is not None, reason="this PyTorch is built with CUDA")
def test_a_pytorch_without_cuda(run_files, capsys):
    assert main(["GPU", "--params", "sparse.yaml"]) == 2
    line = f"error: GPU: PyTorch finds no CUDA device here (torch {torch.__version__} is built "
    assert capsys.readouterr().err == line + "without CUDA); use CPU\n"


def test_no_driver(cuda_build):
    assert "(no NVIDIA driver, or no GPU behind it)" in refusal()


@pytest.mark.parametrize("visible", ["", "7"])
def test_hidden_devices(cuda_build, monkeypatch, visible):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert f"(CUDA_VISIBLE_DEVICES is {visible!r})" in refusal()


def test_a_driver_that_is_too_old(cuda_build, monkeypatch):
    def is_available() -> bool:
        warnings.warn(
            "CUDA initialization: The NVIDIA driver on your system is too old (found version "
            "11040). (Triggered internally at CUDAFunctions.cpp:119.)",
            stacklevel=1,
        )
        return False

    monkeypatch.setattr(torch.cuda, "is_available", is_available)
    assert "The NVIDIA driver on your system is too old (found version 11040)); use" in refusal()


def test_more_processes_than_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert "process 2 of this machine, which has 2 GPUs; lower --nproc_per_node" in refusal(2)


def test_a_gpu_that_is_busy(monkeypatch):
    def zeros(*_: object, **__: object) -> None:
        raise RuntimeError("CUDA error: device(s) is/are busy or unavailable\nCUDA kernel errors")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch, "zeros", zeros)
    assert refusal() == "GPU: cuda cannot be used: CUDA error: device(s) is/are busy or unavailable"


@pytest.mark.parametrize(
    ("visible", "expected"),
    [(None, ["0", "1", "2", "0"]), ("2, 5", ["2", "5", "2", "5"]), ("GPU-1a", ["GPU-1a"] * 4)],
)
def test_workers_have_a_gpu_each(monkeypatch, visible, expected):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert [gpu_of_worker(n)["CUDA_VISIBLE_DEVICES"] for n in range(4)] == expected


def test_workers_without_a_gpu_hear_of_it_themselves(cuda_build, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert gpu_of_worker(1) == {}
