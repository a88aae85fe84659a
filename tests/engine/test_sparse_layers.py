import math
from types import SimpleNamespace

import pytest
import torch

from modelzoo_mediswift.data.batch import Batch
from modelzoo_mediswift.engine import sparse_layers
from modelzoo_mediswift.engine.sparse_layers import SparseLayers, always, make_sparse_layers
from modelzoo_mediswift.engine.torch_engine import TorchEngine, Update
from modelzoo_mediswift.errors import UserError
from modelzoo_mediswift.kernels import library
from modelzoo_mediswift.kernels.choice import FastestChoice
from modelzoo_mediswift.model.gpt3 import GPT3
from modelzoo_mediswift.optim.adamw import AdamW
from modelzoo_mediswift.optim.schedules import ConstantLR
from modelzoo_mediswift.sparsity.filters import SparsityRule
from modelzoo_mediswift.sparsity.masking import Masking
from modelzoo_mediswift.sparsity.schedules import Every, Exp

CPU = torch.device("cpu")
STATIC = SparsityRule(0.75)
GMP = SparsityRule(Exp(0.0, -0.1), algorithm="gmp", updates=Every(10))
SET = SparsityRule(0.75, algorithm="set", updates=Every(12))
RIGL = SparsityRule(0.75, algorithm="rigl", updates=Every(12))

needs_kernels = pytest.mark.skipif(
    not library.is_available(), reason="not compiled: python setup.py build_ext --inplace"
)


def make_engine(*, rule=STATIC, sparse=True, choose=always, hidden=32, autocast=None, accumulate=1):
    model = GPT3(
        vocab_size=40,
        hidden_size=hidden,
        num_hidden_layers=2,
        num_heads=2,
        filter_size=4 * hidden,
        max_position_embeddings=8,
        dropout_rate=0.1,
    )
    masking = Masking(model, [rule], seed=0)
    optimizer = AdamW(model, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1)
    layers = SparseLayers(model, masking.parameters, choose, optimizer) if sparse else None
    update = Update(
        optimizer,
        ConstantLR(1e-3),
        masking,
        max_gradient_norm=1.0,
        grad_accum_steps=accumulate,
    )
    return TorchEngine(model, CPU, update, autocast=autocast, sparse_layers=layers)


def batches(count: int) -> list[Batch]:
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(8, (count, 20, 9), generator=generator, dtype=torch.int32)
    ones = torch.ones(20, 8, dtype=torch.int32)
    return [Batch(i[:, :-1], ones, i[:, 1:], 20 * n, 20) for n, i in enumerate(ids)]


def train(engine: TorchEngine, start: int, stop: int, accumulate: int = 1):
    results = []
    if start == 0:
        torch.manual_seed(5)  # dropout
    data = batches(stop * accumulate)[start * accumulate :]
    engine.train(data, start, stop, 1, lambda r: results.append(r) or True)
    return [r.loss for r in results], [r.grad_norm for r in results]


@needs_kernels
@pytest.mark.parametrize("accumulate", [1, 2])
def test_losses_and_norms_over_50_steps_are_those_of_masked_dense(accumulate):
    sparse = make_engine(accumulate=accumulate)
    plain = make_engine(sparse=False, accumulate=accumulate)
    found, expected = train(sparse, 0, 50, accumulate), train(plain, 0, 50, accumulate)
    assert expected[0][-1] < expected[0][0] - 0.01
    assert found[0] == pytest.approx(expected[0], rel=1e-5)
    assert found[1] == pytest.approx(expected[1], rel=1e-3)
    # The first norm has seen no optimizer step: rounding of sums alone.
    assert found[1][0] == pytest.approx(expected[1][0], rel=1e-6)
    for p in sparse.update.sparsity.parameters:
        assert p.weight.dim() == 1
        assert p.weight.numel() == int(p.mask.sum())


@needs_kernels
@pytest.mark.parametrize("rule", [GMP, SET, RIGL], ids=lambda r: r.algorithm)
def test_masks_that_change_are_those_of_masked_dense(rule):
    sparse, plain = make_engine(rule=rule), make_engine(rule=rule, sparse=False)
    found, expected = train(sparse, 0, 41)[0], train(plain, 0, 41)[0]
    assert found == pytest.approx(expected, rel=1e-5)
    assert all(p.weight.dim() == 1 for p in sparse.update.sparsity.parameters)
    one, other = sparse.state().model, plain.state().model
    masks = [name for name in one if name.endswith("_mask")]
    assert masks
    for name in masks:
        assert torch.equal(one[name], other[name]), name


@needs_kernels
@pytest.mark.parametrize("rule", [STATIC, SET], ids=lambda r: r.algorithm)
def test_checkpoints_do_not_show_how_they_were_computed(rule):
    sparse, plain = make_engine(rule=rule), make_engine(rule=rule, sparse=False)
    train(sparse, 0, 15)
    train(plain, 0, 15)
    states = sparse.state(), plain.state()
    for one, other in zip(
        (states[0].model, states[0].optimizer),
        (states[1].model, states[1].optimizer),
        strict=True,
    ):
        assert {n: (t.shape, t.dtype) for n, t in one.items()} == {
            n: (t.shape, t.dtype) for n, t in other.items()
        }
    crossed = make_engine(rule=rule), make_engine(rule=rule, sparse=False)
    crossed[0].load_state(states[1])
    crossed[1].load_state(states[0])
    for engine in (sparse, plain):  # the engines go on, and go on alike
        torch.manual_seed(9)
        engine.follow = train(engine, 15, 30)[0]
    for engine, same in zip(crossed, (plain, sparse), strict=True):
        torch.manual_seed(9)
        assert train(engine, 15, 30)[0] == pytest.approx(same.follow, rel=1e-5)


@needs_kernels
@pytest.mark.parametrize("rule", [STATIC, GMP, SET, RIGL], ids=lambda r: r.algorithm)
@pytest.mark.parametrize("stop", [11, 12])
def test_a_continued_run_has_the_same_bits(rule, stop):
    straight, first, second = (make_engine(rule=rule) for _ in range(3))
    losses = train(straight, 0, 30)[0]
    train(first, 0, stop)
    first.evaluate(batches(1))
    second.load_state(first.state())
    second.evaluate(batches(1))
    assert train(second, stop, 30)[0] == losses[stop:]
    one, other = straight.state(), second.state()
    for name in one.model:
        assert torch.equal(one.model[name], other.model[name]), name
    for name in one.optimizer:
        assert torch.equal(one.optimizer[name], other.optimizer[name]), name


@needs_kernels
def test_under_bf16_the_losses_stay_close():
    sparse = make_engine(autocast=torch.bfloat16)
    plain = make_engine(sparse=False, autocast=torch.bfloat16)
    # bf16 has 8 bits: a loss near 3.7 is off by a few of its last ones.
    assert train(sparse, 0, 5)[0] == pytest.approx(train(plain, 0, 5)[0], abs=0.03)


@needs_kernels
def test_evaluation_is_that_of_masked_dense():
    sparse, plain = make_engine(), make_engine(sparse=False)
    found, expected = sparse.evaluate(batches(2)), plain.evaluate(batches(2))
    assert found.loss == pytest.approx(expected.loss, rel=1e-6)


@pytest.mark.parametrize(("distance", "dense"), [(7, set(range(20, 28))), (8, {20, 28})])
def test_lists_are_made_only_where_changes_leave_time_for_them(distance, dense):
    changing = SimpleNamespace(changes_at={20, 20 + distance}.__contains__)
    found = {step for step in range(40) if sparse_layers._is_dense_at(changing, step)}
    assert found == dense


@needs_kernels
def test_memory_of_a_sparse_weight_is_at_most_two_fifths_of_a_dense_one():
    """Weights, gradients, two moments, lists and mask, against sixteen bytes for a dense weight."""
    engine = make_engine(hidden=256)
    train(engine, 0, 1)
    engine.sparse_layers.before_step(2)
    state = engine.update.optimizer.moments
    held = total = 0
    for p in engine.update.sparsity.parameters:
        moments = [state[p.weight][key] for key in ("exp_avg", "exp_avg_sq")]
        gradient = p.weight.nbytes
        held += p.weight.nbytes + gradient + sum(m.nbytes for m in moments)
        held += p.module.pattern.num_bytes + p.mask.nbytes
        total += p.mask.numel()
    assert held / total <= 0.4 * 16


@needs_kernels
def test_the_faster_is_chosen_and_the_choice_is_part_of_the_state(monkeypatch, capsys):
    monkeypatch.setattr(
        FastestChoice, "_measure", lambda self, shape, density: (1.0, 0.5 + (shape[0] == 128))
    )
    engine = make_engine(choose=FastestChoice(512))
    train(engine, 0, 1)
    for p in engine.update.sparsity.parameters:
        assert (p.weight.dim() == 1) == (p.mask.shape[0] != 128)
    said = capsys.readouterr().err
    assert "32 x 32, 75 % sparse: dense 1000.00 ms, sparse 500.00 ms for 512 tokens: sparse" in said
    assert (
        "128 x 32, 75 % sparse: dense 1000.00 ms, sparse 1500.00 ms for 512 tokens: dense" in said
    )

    def fail(self, shape, density):
        raise AssertionError("measured again")

    monkeypatch.setattr(FastestChoice, "_measure", fail)
    again = make_engine(choose=FastestChoice(512))
    again.load_state(engine.state())
    train(again, 1, 2)


@needs_kernels
def test_the_measurement_measures(capsys):
    choice = FastestChoice(64, torch.bfloat16)
    choice((64, 64), 0.25)
    choice((64, 64), 0.26)  # as good as the same
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert choice.state().tolist()[0][:3] == [64, 64, 25]


def make(model, masking, device=CPU, alone=True):
    optimizer = AdamW(model, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1)
    return make_sparse_layers(
        model, masking, optimizer, device, every_layer=True, tokens=8, autocast=None, alone=alone
    )


def test_where_kernels_cannot_be_had_a_message_says_so(monkeypatch, capsys):
    engine = make_engine(sparse=False)
    model, masking = engine.model, engine.update.sparsity

    def not_compiled():
        raise UserError("the sparse kernels are not compiled")

    monkeypatch.setattr(sparse_layers, "load_library", not_compiled)
    assert make(model, masking) is None
    assert make(model, masking, torch.device("cuda")) is None
    assert make(model, None) is None
    assert make(model, masking, alone=False) is None
    assert capsys.readouterr().err.splitlines() == [
        "SparseKernels: not used: the sparse kernels are not compiled; training is masked-dense",
        "SparseKernels: not used: they are for a CPU, not for cuda; training is masked-dense",
        "SparseKernels: not used: nothing is sparse; training is masked-dense",
        "SparseKernels: not used: they are for one process and a model that is not compiled; "
        "training is masked-dense",
    ]
    assert math.isfinite(train(engine, 0, 1)[0][0])
