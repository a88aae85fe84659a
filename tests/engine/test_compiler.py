"""A machine on which PyTorch's compiler does not work: no C compiler, no Triton."""

import re

import pytest
import torch

from modelzoo_mediswift.engine.compiler import compiler_problem, use_compiler
from modelzoo_mediswift.errors import UserError

CPU = torch.device("cpu")
PROBLEM = "InvalidCxxCompiler: No working C++ compiler found"


@pytest.fixture
def no_c_compiler(monkeypatch):
    import torch._inductor.config

    monkeypatch.setattr(torch._inductor.config.cpp, "cxx", ("/nonexistent",))
    monkeypatch.setattr(torch._inductor.config, "fx_graph_cache", False)
    compiler_problem.cache_clear()
    torch._dynamo.reset()
    yield
    compiler_problem.cache_clear()
    torch._dynamo.reset()


@pytest.mark.filterwarnings("ignore")  # those of PyTorch's compiler itself
def test_who_insists_hears_why(no_c_compiler):
    with pytest.raises(UserError, match=re.escape(f"torch.compile fails here: {PROBLEM}")):
        use_compiler(True, CPU)


@pytest.mark.parametrize("speaks", [True, False])
def test_who_does_not_runs_without(monkeypatch, capsys, speaks):
    reason = f"RuntimeError: Failed to find C compiler for {speaks}."

    def fail(function: object, **options: object) -> None:
        raise RuntimeError(f"backend='inductor' raised:\n{reason}\n\nMore lines.")

    monkeypatch.setattr(torch, "compile", fail)
    compiler_problem.cache_clear()
    assert use_compiler(None, torch.device("cuda"), speaks=speaks) is False
    assert use_compiler(None, torch.device("cuda"), speaks=speaks) is False
    compiler_problem.cache_clear()
    line = f"running without torch.compile, which takes longer; it fails here: {reason}\n"
    assert capsys.readouterr().err == (line if speaks else "")
    assert use_compiler(None, CPU) is False
    assert use_compiler(False, torch.device("cuda")) is False
