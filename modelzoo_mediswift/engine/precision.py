"""Which arithmetic a device uses for `precision` in the YAML."""

from __future__ import annotations

from pathlib import Path

import torch

from modelzoo_mediswift.errors import UserError

# x86 bfloat16 matrix instructions, and Arm's, as Linux names them.
BF16_FLAGS = ("avx512_bf16", "amx_bf16", "bf16")


def cpu_has_bf16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """True where the processor has bfloat16 instructions; False where it cannot be told."""
    try:
        text = cpuinfo.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    for line in text.splitlines():
        if line.lower().startswith(("flags", "features")):
            return any(flag in line.split() for flag in BF16_FLAGS)
    return False


def autocast_dtype(device: torch.device, enabled: bool, fp16_type: str) -> torch.dtype | None:
    """The half type for matrix products, or None for fp32 throughout.

    cbfloat16 exists on CS systems alone; elsewhere it means bfloat16, as in Model Zoo. Where a
    device has no bfloat16 the run is fp32, because an emulated half type costs more than it saves.
    Raises UserError for float16: its range needs loss scaling, which only the CS engine has.
    """
    if not enabled:
        return None
    if fp16_type == "float16":
        raise UserError(
            f"trainer.init.precision.fp16_type: float16 is not supported on "
            f"{device.type.upper()}; use bfloat16"
        )
    if device.type == "cpu":
        has_bf16 = cpu_has_bf16()
    else:
        has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.bfloat16 if has_bf16 else None
