import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def csx_yaml(run_files: Path) -> Path:
    """A small run as the paper's are, training alone: cbfloat16, dynamic loss scaling."""
    text = (run_files / "sparse.yaml").read_text().replace("dropout_rate: 0.1", "dropout_rate: 0.0")
    text = text.replace(
        "enabled: false", "fp16_type: cbfloat16, loss_scaling_factor: dynamic"
    ).replace(", eval_frequency: 10", "")
    path = run_files / "csx.yaml"
    path.write_text(text[: text.index("    val_dataloader")])
    return path


@pytest.fixture
def run_csx(csx_yaml: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`run.py CSX` on csx.yaml, as a program, against the manager at an address."""
    for name in ("CSCONFIG_PATH", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)

    def run(
        address: str, *flags: str, program: Path = ROOT / "run.py", seconds: float = 300
    ) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, program, "CSX", "-p", "csx.yaml", "--mgmt_address", address, *flags],
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
        )

    return run
