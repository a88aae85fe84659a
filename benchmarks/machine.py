"""What the numbers of a benchmark were measured on, in one line."""

import os
import platform
from pathlib import Path

import torch


def machine(device: str = "cpu") -> str:
    """The device, its threads, and the software."""
    name = torch.cuda.get_device_name() if device == "cuda" else _processor()
    threads = "" if device == "cuda" else f", {torch.get_num_threads()} threads"
    software = f"torch {torch.__version__}, Python {platform.python_version()}"
    return f"machine: {name}, {os.cpu_count()} cores{threads}; {software}"


def processor_seconds(process: int) -> float:
    """What a process has used so far, with all its threads (Linux)."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    flags = next((line.split() for line in lines if line.startswith("flags")), [])
    extra = [f for f in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if f in flags]
    return f"{names[0] if names else platform.machine()} ({', '.join(extra)})"
