"""Is the Cerebras software here, and can it find its compiler? Imports nothing of it."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

from modelzoo_mediswift.errors import UserError

RELEASE = "2.10.0"
CLUSTER_FILE = Path("/opt/cerebras/config_v2")


def require_cerebras() -> None:
    """Make `cerebras.pytorch` usable; raises UserError where it is not installed."""
    if not is_installed():
        raise UserError(
            f"CSX needs cerebras-pytorch {RELEASE} (Python 3.11), which is not installed here; "
            "it needs an environment of its own (docs/cerebras.md): "
            'pip install -e ".[cerebras]" -c constraints/cerebras.txt'
        )
    # cerebras-pytorch runs `torch-cirh-opt` by name. It lies beside the interpreter, which is
    # on PATH in an activated environment only.
    scripts = str(Path(sys.executable).parent)
    paths = os.environ.get("PATH", "").split(os.pathsep)
    if scripts not in paths:
        os.environ["PATH"] = os.pathsep.join([scripts, *paths])
    # The library notes the line of source that each operation comes from, at a quarter of the
    # tracing time. CSTORCH_DEBUG=1 asks for it, to read a compiler error.
    os.environ.setdefault("CSTORCH_DEBUG", "0")


def is_installed() -> bool:
    if importlib.util.find_spec("cerebras") is None:
        return False
    return importlib.util.find_spec("cerebras.pytorch") is not None


def require_cluster(mgmt_address: str | None) -> None:
    """Raises UserError where nothing says how to reach a cluster."""
    override = os.environ.get("CSCONFIG_PATH")
    path = Path(override) if override else CLUSTER_FILE
    if mgmt_address is None and not path.is_file():
        named = f"{path}, named by CSCONFIG_PATH," if override else str(path)
        raise UserError(
            f"CSX: no cluster is configured: there is no {named} and no --mgmt_address "
            "(CSCONFIG_PATH can name another file); --validate_only works without a cluster"
        )
