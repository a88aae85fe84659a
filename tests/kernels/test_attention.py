"""Attention on a CPU, in fp32 and bf16, against PyTorch's in fp64."""

import math
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from modelzoo_mediswift.kernels import attention, library
from modelzoo_mediswift.kernels.attention import causal_attention, is_faster
from modelzoo_mediswift.model import gpt3

SIZES = ("query", "key", "value", "gradient")


KERNELS = {
    "float32": (torch.float32, "AVX-512"),
    "bfloat16 by vectors": (torch.bfloat16, "AVX-512-BF16"),
    "bfloat16 by tiles": (torch.bfloat16, "AMX"),
}


@pytest.fixture(params=KERNELS)
def dtype(request, monkeypatch) -> torch.dtype:
    """That of each of the kernels, which are then used, that this processor has."""
    if not library.is_available():
        pytest.skip("the library is not compiled")
    dtype, instructions = KERNELS[request.param]
    number = library.INSTRUCTION_SETS.index(instructions)
    if library.load_library().instructions < number:
        pytest.skip(f"no {instructions} here")
    monkeypatch.setattr(library.load_library(), "instructions", number)
    return dtype


def run(function, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    inputs = [tensors[name].clone().requires_grad_() for name in SIZES[:3]]
    out = function(*inputs)
    gradients = torch.autograd.grad(out, inputs, tensors["gradient"].to(out.dtype))
    return {"out": out.detach(), **dict(zip(SIZES, gradients, strict=False))}


def sdpa(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(query, key, value, is_causal=True)


LENGTHS = (15, 16, 17, 63, 64, 65, 127, 128, 129, 300)


@pytest.mark.parametrize("width", [1, 16, 20, 33, 64, 80, 128])
@pytest.mark.parametrize("size", [1, 2])  # that of scores is its square
def test_errors_are_not_greater_than_pytorchs(dtype, width, size):
    """All lengths together, since single results' errors are left to chance."""
    generator = torch.Generator().manual_seed(width)
    errors = torch.zeros(4, 2, dtype=torch.float64)
    for length in LENGTHS:
        rounded = {
            name: (size * torch.randn(4, length, 3, width, generator=generator))
            .transpose(1, 2)
            .to(dtype)
            for name in SIZES
        }
        exact = run(sdpa, {name: x.double() for name, x in rounded.items()})
        ours, theirs = run(causal_attention, rounded), run(sdpa, rounded)
        for total, (name, right) in zip(errors, exact.items(), strict=True):
            assert ours[name].dtype == dtype
            assert ours[name].shape == right.shape
            each = (x[name] - right for x in (ours, theirs))
            total += torch.stack([difference.square().sum() for difference in each])
    ours_of_all, theirs_of_all = errors.sqrt().unbind(1)
    assert (ours_of_all <= 1.2 * theirs_of_all).all(), errors


def test_a_token_alone_attends_to_itself(dtype):
    tensors = {name: torch.randn(3, 2, 1, 16).to(dtype) for name in SIZES}
    results = run(causal_attention, tensors)
    assert torch.equal(results["out"], tensors["value"])
    assert torch.equal(results["value"], tensors["gradient"])
    for name in ("query", "key"):  # a softmax of one score is 1
        torch.testing.assert_close(
            results[name], torch.zeros(3, 2, 1, 16).to(dtype), atol=1e-5, rtol=0
        )


def test_the_layout_of_the_inputs_does_not_matter(dtype):
    by_tokens = {name: torch.randn(2, 40, 3, 16).to(dtype).transpose(1, 2) for name in SIZES}
    by_heads = {name: x.contiguous() for name, x in by_tokens.items()}
    by_heads["gradient"] = by_heads["gradient"].mT.contiguous().mT
    expected = run(causal_attention, by_tokens)
    for name, result in run(causal_attention, by_heads).items():
        assert torch.equal(result, expected[name])


def test_threads_do_not_change_results(dtype):
    tensors = {name: torch.randn(2, 3, 150, 32).to(dtype) for name in SIZES}
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        expected = run(causal_attention, tensors)
        torch.set_num_threads(4)
        for name, result in run(causal_attention, tensors).items():
            assert torch.equal(result, expected[name])
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("score", [-1e36, -1e31, 1e31, 1e36])
def test_equal_scores_may_be_of_any_size(dtype, score):
    """They are then worth as much as zeros."""
    tensors = {name: torch.randn(1, 2, 70, 16).to(dtype) for name in SIZES}
    nothing = torch.zeros(1, 2, 70, 16, dtype=torch.float64)
    expected = run(sdpa, {n: x.double() for n, x in tensors.items()} | {"query": nothing})
    side = torch.full((1, 2, 70, 16), abs(score / 16) ** 0.5).to(dtype)
    results = run(
        causal_attention, tensors | {"query": side, "key": math.copysign(1, score) * side}
    )
    tolerance = 1e-5 if dtype == torch.float32 else 0.02
    for name in ("out", "value"):
        torch.testing.assert_close(
            results[name].double(), expected[name], rtol=tolerance, atol=tolerance
        )


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_a_number_stays_none(dtype, value):
    query, key, values = (torch.randn(1, 1, 200, 16).to(dtype) for _ in range(3))
    key[0, 0, 70, 3] = value
    out = causal_attention(query, key, values)
    assert out[0, 0, :70].isfinite().all()
    assert out[0, 0, 70:].isnan().any()


@pytest.mark.parametrize("shape", [(0, 2, 5, 8), (2, 2, 0, 8)])
def test_nothing_to_attend_to(dtype, shape):
    tensors = {name: torch.randn(shape).to(dtype) for name in SIZES}
    assert all(result.shape == shape for result in run(causal_attention, tensors).values())


def test_no_query_sees_later_keys(dtype):
    query, key, value = (torch.randn(1, 2, 200, 8).to(dtype) for _ in range(3))
    before = causal_attention(query, key, value)
    key[:, :, 150:], value[:, :, 150:] = 7, 1000
    after = causal_attention(query, key, value)
    assert torch.equal(before[:, :, :150], after[:, :, :150])
    assert (before[:, :, 150:] != after[:, :, 150:]).any()


@pytest.fixture
def processor(monkeypatch):
    """Gives the processor up to these instructions, and tiles to PyTorch."""

    def become(instructions: str, tiles: bool = False) -> None:
        if not library.is_available():
            pytest.skip("the library is not compiled")
        number = library.INSTRUCTION_SETS.index(instructions)
        monkeypatch.setattr(library.load_library(), "instructions", number)
        monkeypatch.setattr(torch.cpu, "_init_amx", lambda: tiles, raising=False)
        monkeypatch.setattr(attention, "pytorch_has_tiles", library.pytorch_has_tiles.__wrapped__)

    return become


@pytest.mark.parametrize(
    ("instructions", "tiles", "fp32", "bf16"),
    [
        ("portable", False, False, False),
        ("AVX2", False, False, False),
        ("AVX-512", False, True, False),
        ("AVX-512-BF16", False, True, True),
        ("AVX-512-BF16", True, True, False),  # an older compiler's library, or one told to
        ("AMX", True, True, True),
    ],
)
def test_it_is_for_a_processor_that_has_the_type(processor, instructions, tiles, fp32, bf16):
    processor(instructions, tiles)
    query = torch.ones(1, 1, 2, 8)
    assert is_faster(query) is fp32
    assert is_faster(query.bfloat16()) is bf16
    assert not is_faster(query.double())
    for dtype in (torch.float64, torch.float16):
        with pytest.raises(TypeError, match="no attention in"):
            causal_attention(*[query.to(dtype)] * 3)


def test_it_reads_plain_tensors_of_a_cpu_alone(processor, monkeypatch):
    processor("AVX-512")
    assert not is_faster(torch.empty(1, device="meta"))
    with FakeTensorMode():  # has no memory, and says that it is on a CPU
        assert not is_faster(torch.empty(1))
    assert is_faster(torch.empty(1))
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    assert not is_faster(torch.empty(1))


def test_without_the_library_it_is_pytorchs(monkeypatch):
    monkeypatch.setattr(library, "is_available", lambda: False)
    assert not is_faster(torch.empty(1))


def test_tiles_are_not_used_where_the_system_refuses_them():
    """As Linux does where a thread has a stack for signals on which tiles would not fit."""
    if not library.is_available() or not library.load_library().has_amx_attention:
        pytest.skip("no AMX here")
    script = """
import ctypes
class Stack(ctypes.Structure):
    _fields_ = (("at", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))
memory = ctypes.create_string_buffer(8192)
stack = Stack(ctypes.addressof(memory), 0, 8192)
assert ctypes.CDLL(None).sigaltstack(ctypes.byref(stack), None) == 0
import torch
from modelzoo_mediswift.kernels import attention, library
assert library.INSTRUCTION_SETS[library.load_library().instructions] == "AVX-512-BF16"
query = torch.ones(1, 1, 2, 8, dtype=torch.bfloat16)
assert attention.is_faster(query)
assert attention.causal_attention(query, query, query).eq(1).all()
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def test_it_is_not_asked_where_it_lacks_something(monkeypatch):
    asked = []

    def recorded(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        asked.append(query.shape)
        return sdpa(query, key, value)

    monkeypatch.setattr(gpt3, "is_faster", lambda query: True)
    monkeypatch.setattr(gpt3, "causal_attention", recorded)
    layer = gpt3.Attention(hidden_size=8, num_heads=2, dropout_rate=0.5)
    x = torch.randn(1, 3, 8)
    layer(x, None, None, False)  # in training, with dropout
    layer.eval()
    layer(x, torch.ones(3, 3, dtype=torch.bool), None, False)
    layer(x, None, None, False, at=torch.tensor([1]))
    assert not asked
    layer(x, None, None, False)
    assert asked == [(1, 2, 3, 4)]
