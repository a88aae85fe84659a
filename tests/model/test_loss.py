"""The chunked loss against PyTorch's on whole logits; and one graph from end to end."""

import gc
import weakref

import pytest
import torch
import torch.nn.functional as F

from modelzoo_mediswift.model import loss as loss_module
from modelzoo_mediswift.model.gpt3 import GPT3
from modelzoo_mediswift.model.loss import IGNORED, LossModule

WORDS = 61


@pytest.fixture(params=[7, 4096])
def chunk(request, monkeypatch) -> int:
    """A chunk that cuts the 48 positions unevenly, and one that holds them all."""
    monkeypatch.setattr(loss_module, "CHUNK", request.param)
    return request.param


def small() -> LossModule:
    model = GPT3(
        vocab_size=WORDS,
        hidden_size=32,
        num_hidden_layers=2,
        num_heads=4,
        filter_size=128,
        max_position_embeddings=24,
    )
    return LossModule(model)


def data() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    ids = torch.randint(WORDS, (2, 24), generator=generator)
    targets = torch.randint(WORDS, (48,), generator=generator)
    targets[5:11] = IGNORED
    return ids, targets


def gradients(module: LossModule) -> dict[str, torch.Tensor]:
    found = {name: p.grad.clone() for name, p in module.named_parameters()}
    module.zero_grad()
    return found


def assert_close(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    for name, gradient in one.items():
        torch.testing.assert_close(gradient, other[name], rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.parametrize("chosen", [False, True])
@pytest.mark.parametrize("count_right", [False, True])  # training asks for no count
def test_loss_and_gradients_are_those_of_whole_logits(chunk, chosen, count_right):
    module, (ids, targets) = small(), data()
    positions = torch.tensor([47, 3, 6, 30, 31, 0, 1, 2]) if chosen else None
    expected_targets = targets if positions is None else targets[positions]
    logits = module.gpt3(ids).flatten(0, 1)
    logits = logits if positions is None else logits[positions]
    expected = F.cross_entropy(logits, expected_targets, ignore_index=IGNORED, reduction="sum")
    (expected * 0.3).backward()
    plain = gradients(module)
    loss, right = module(ids, expected_targets, positions, count_right)
    (loss * 0.3).backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    assert right == (count_right * (logits.argmax(-1) == expected_targets).sum())
    assert_close(plain, gradients(module))


def test_rounding_in_bfloat16_is_that_of_bfloat16(chunk):
    module, (ids, targets) = small(), data()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss, _ = module(ids, targets)
        logits = module.gpt3(ids).flatten(0, 1).float()
    expected = F.cross_entropy(logits, targets, ignore_index=IGNORED, reduction="sum")
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    expected.backward()
    plain = gradients(module)
    loss.backward()
    for name, gradient in gradients(module).items():
        scale = plain[name].abs().max()
        assert (gradient - plain[name]).abs().max() <= 2**-6 * scale, name


@pytest.mark.parametrize("compiling", [False, True])
def test_rows_that_round_up_the_vocabulary_take_no_part(compiling, monkeypatch):
    """As on a GPU, whose matrix units want round numbers of words."""
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: compiling)
    _, targets = data()
    generator = torch.Generator().manual_seed(4)
    hidden = -torch.rand(48, 32, generator=generator)  # zero rows would have the highest logits
    words = torch.rand(WORDS, 32, generator=generator)
    rounded = F.pad(words, (0, 0, 0, 3))
    found = []
    for rows in (words, rounded):
        by_words = torch.zeros_like(rows)
        loss, right, by_hidden = loss_module._chunk(hidden, rows, targets, WORDS, True, by_words)
        found.append((loss, right, by_hidden, by_words[:WORDS]))
        assert not by_words[WORDS:].any()
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


def test_a_batch_without_loss_tokens_has_no_loss_and_no_gradient():
    module, (ids, _) = small(), data()
    loss, right = module(ids, torch.full((48,), IGNORED), None, count_right=True)
    loss.backward()
    assert loss.item() == 0
    assert right.item() == 0
    assert all(not p.grad.any() for p in module.parameters())


@pytest.mark.filterwarnings("ignore:.*should not be instantiated")  # PyTorch's compiler does it
@pytest.mark.filterwarnings("ignore:The .grad attribute")
@pytest.mark.parametrize("chosen", [False, True])
@pytest.mark.parametrize("layers", [False, True])
def test_the_parts_compile_without_graph_breaks(chosen, layers, monkeypatch):
    """`fullgraph` raises where Python would have to come between."""
    monkeypatch.setattr(loss_module, "CHUNK", 20)
    torch._dynamo.reset()
    module, (ids, targets) = small(), data()
    positions = torch.arange(0, 48, 3) if chosen else None
    targets = targets if positions is None else targets[positions]
    plain_loss, plain_right = module(ids, targets, positions, count_right=True)
    plain_loss.backward()
    plain = gradients(module)
    module.compile_parts(backend="aot_eager", layers=layers)
    loss, right = module(ids, targets, positions, count_right=True)
    loss.backward()
    assert loss.item() == pytest.approx(plain_loss.item(), rel=1e-6)
    assert right == plain_right
    assert_close(plain, gradients(module))


@pytest.mark.filterwarnings("ignore:.*should not be instantiated")
def test_batches_of_any_size_need_few_programs(monkeypatch):
    """Fine-tuning cuts every batch to its longest sequence and computes logits where they count."""
    monkeypatch.setattr(loss_module, "CHUNK", 16)
    torch._dynamo.reset()
    module, programs = small(), []

    def backend(graph, inputs):
        programs.append(graph)
        return graph.forward

    module.compile_parts(backend=backend)
    generator = torch.Generator().manual_seed(0)
    for length in (24, 8, 17, 3, 20, 23):
        for rows in (2, 1, 5):
            ids = torch.randint(WORDS, (rows, length), generator=generator)
            targets = torch.randint(WORDS, (rows * length,), generator=generator)
            chosen = torch.randperm(rows * length, generator=generator)[: 2 + length // 2]
            loss, _ = module(ids, targets)
            loss.backward()
            module(ids, targets[chosen], chosen)[0].backward()
            with torch.no_grad():
                again, _ = module(ids, targets, count_right=True)
            assert again.item() == pytest.approx(loss.item(), rel=1e-5)
    assert len(programs) <= 24


@pytest.mark.filterwarnings("ignore:.*should not be instantiated")
@pytest.mark.parametrize("rows", [2, 3])  # 32 and 48 positions: chunks of 16
def test_evaluation_leaves_the_sizes_of_training_constant(rows, monkeypatch):
    """Its last batch is smaller; a program for any size is slower than one for the size."""
    monkeypatch.setattr(loss_module, "CHUNK", 20)
    torch._dynamo.reset()
    module, sizes = small(), []

    def backend(graph, inputs):
        sizes.append([value for value in inputs if not isinstance(value, torch.Tensor)])
        return graph.forward

    module.compile_parts(backend=backend)
    with torch.no_grad():
        for evaluated in (4, 1, 3):
            ids = torch.zeros(evaluated, 16, dtype=torch.int64)
            module(ids, ids.flatten(), count_right=True)
    sizes.clear()
    for _ in range(2):
        ids = torch.zeros(rows, 16, dtype=torch.int64)
        module(ids, ids.flatten())[0].backward()
    assert sizes == [[], []]  # the model and a chunk, no size among their inputs


@pytest.mark.filterwarnings("ignore:.*should not be instantiated")
@pytest.mark.parametrize(
    "compiled",
    [
        False,
        pytest.param(
            True,
            marks=pytest.mark.skipif(
                torch.__version__.startswith("2.4."), reason="torch 2.4's compiler refers to it"
            ),
        ),
    ],
)
def test_a_module_that_nobody_needs_frees_its_memory_at_once(compiled):
    """The next stage of a recipe, or the next try with half the micro-batch, needs it."""
    torch._dynamo.reset()
    module, (ids, targets) = small(), data()
    if compiled:
        module.compile_parts(backend="eager")
    module(ids, targets)[0].backward()
    weights = weakref.ref(module.gpt3.model.lm_head.weight)
    gc.disable()
    try:
        del module
        assert weights() is None
    finally:
        gc.enable()
