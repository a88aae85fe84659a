"""Stand-ins for what Model Zoo imports and the package index does not have.

Model Zoo reads no trainer YAML unless two evaluation harnesses import, which can be had from
GitHub alone. Without them the modules that wrap them are replaced, before Model Zoo asks; all
else works. Imports nothing of Cerebras.
"""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType

# The package that may be missing: (Model Zoo's module that needs it, the names taken from it).
HARNESSES = {
    "bigcode_eval": (
        "cerebras.modelzoo.trainer.extensions.bigcode",
        ("BigCodeCLIArgs", "BigCodeEvalHarness"),
    ),
    "lm_eval": (
        "cerebras.modelzoo.trainer.extensions.eleuther",
        ("EleutherCLIArgs", "EleutherEvalHarness"),
    ),
}


def replace_missing_harnesses() -> list[str]:
    """Install the stand-ins that are needed; returns the packages they stand for."""
    missing = [name for name in HARNESSES if importlib.util.find_spec(name) is None]
    for package in missing:
        module_name, names = HARNESSES[package]
        if module_name not in sys.modules:
            module = ModuleType(module_name, f"{package} is not installed")
            for name in names:
                setattr(module, name, type(name, (), {}))
            sys.modules[module_name] = module
    return missing


def is_modelzoo_installed() -> bool:
    """Whether `cerebras.modelzoo` can be imported."""
    if importlib.util.find_spec("cerebras") is None:
        return False
    return importlib.util.find_spec("cerebras.modelzoo") is not None
