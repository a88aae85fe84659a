import pytest

from modelzoo_mediswift.kernels import library


@pytest.fixture(params=library.INSTRUCTION_SETS[:-1])  # AMX is attention's alone
def instructions(request, monkeypatch) -> str:
    """Every instruction set that this processor has, one after the other."""
    wanted = library.INSTRUCTION_SETS.index(request.param)
    if library.load_library().instructions < wanted:
        pytest.skip(f"this processor has no {request.param}")
    monkeypatch.setattr(library.load_library(), "instructions", wanted)
    return request.param
