import pytest
import torch

from modelzoo_mediswift.engine.peaks import peak_flops
from modelzoo_mediswift.engine.precision import autocast_dtype, cpu_has_bf16
from modelzoo_mediswift.errors import UserError

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("processor: 0\nflags\t\t: fpu avx512f avx512_bf16 rdpid\n", True),
        ("flags\t\t: fpu avx2 avx512f\n", False),
        ("Features\t: fp asimd bf16 i8mm\n", True),
        ("", False),
    ],
)
def test_bf16_instructions_are_read_from_the_flags(tmp_path, text, expected):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(text)
    assert cpu_has_bf16(cpuinfo) is expected


def test_unreadable_cpuinfo_means_no(tmp_path):
    assert cpu_has_bf16(tmp_path / "none") is False


def test_autocast_by_device_and_type():
    assert autocast_dtype(CPU, False, "cbfloat16") is None
    assert autocast_dtype(CPU, True, "cbfloat16") == (torch.bfloat16 if cpu_has_bf16() else None)
    with pytest.raises(UserError, match="float16 is not supported on CPU; use bfloat16"):
        autocast_dtype(CPU, True, "float16")


def test_a_gpu_that_only_emulates_bf16_runs_in_fp32(monkeypatch):
    """PyTorch counts emulation as support, as on a V100 or a T4, unless it is told not to."""
    native = False
    monkeypatch.setattr(
        torch.cuda,
        "is_bf16_supported",
        lambda including_emulation=True: including_emulation or native,
    )
    gpu = torch.device("cuda")
    assert autocast_dtype(gpu, True, "bfloat16") is None
    native = True
    assert autocast_dtype(gpu, True, "bfloat16") == torch.bfloat16


def test_peaks_of_gpus_are_found_by_name():
    assert peak_flops("NVIDIA H200") == 989e12
    assert peak_flops("NVIDIA H100 PCIe") == 756e12
    assert peak_flops("NVIDIA H100 NVL") == 835e12
    assert peak_flops("NVIDIA H100 80GB HBM3") == 989e12
    assert peak_flops("NVIDIA GB200") == 2500e12
    assert peak_flops("NVIDIA A100-SXM4-80GB, bf16 mixed precision") == 312e12
    assert peak_flops("CPU, 2 threads, fp32") is None
    assert peak_flops("2 x NVIDIA GH200 480GB, bf16 mixed precision") == 989e12
    assert peak_flops("NVIDIA RTX A1000 Laptop GPU") is None
    assert peak_flops("NVIDIA H100 80GB HBM3 MIG 1g.10gb") is None
    assert peak_flops("NVIDIA RTX A4000") is None
    assert peak_flops("NVIDIA GeForce RTX 4090 Laptop GPU") is None
