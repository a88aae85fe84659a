import math
from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch

from modelzoo_mediswift.data.batch import Batch
from modelzoo_mediswift.engine.base import NonFiniteLoss
from modelzoo_mediswift.engine.out_of_memory import OutOfMemory
from modelzoo_mediswift.engine.torch_engine import TorchEngine, Update
from modelzoo_mediswift.model.gpt3 import GPT3
from modelzoo_mediswift.model.loss import LossModule
from modelzoo_mediswift.optim.adamw import AdamW
from modelzoo_mediswift.optim.schedules import ConstantLR, LinearLR
from modelzoo_mediswift.sparsity.filters import SparsityRule
from modelzoo_mediswift.sparsity.masking import Masking
from modelzoo_mediswift.sparsity.schedules import Every

CPU = torch.device("cpu")


def make_model() -> GPT3:
    return GPT3(
        vocab_size=40,
        hidden_size=16,
        num_hidden_layers=2,
        num_heads=2,
        filter_size=64,
        max_position_embeddings=8,
    )


def make_engine(
    *, sparsity: float | None = 0.75, micro=None, accumulate=1, **update
) -> TorchEngine:
    model = make_model()
    static = Masking(model, [SparsityRule(sparsity)], seed=0) if sparsity else None
    optimizer = AdamW(model, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1)
    settings = Update(optimizer, ConstantLR(1e-2), static, grad_accum_steps=accumulate, **update)
    return TorchEngine(model, CPU, settings, micro_batch_size=micro)


def batch(seed: int, size: int = 6, density: float = 1.0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(40, (size, 9), generator=generator, dtype=torch.int32)
    mask = (torch.rand(size, 8, generator=generator) < density).int()
    return Batch(ids[:, :-1], mask, ids[:, 1:], seed * size, size)


def run(engine: TorchEngine, batches: list[Batch], steps: int) -> list[float]:
    losses = []
    engine.train(batches, 0, steps, 1, lambda r: losses.append(r.loss) or True)
    return losses


@pytest.mark.parametrize("density", [1.0, 0.3])
def test_micro_batches_are_one_batch(density):
    batches = [batch(i, density=density) for i in range(3)]
    whole, split = make_engine(), make_engine(micro=2)
    assert run(whole, batches, 3) == pytest.approx(run(split, batches, 3), rel=1e-5)
    for a, b in zip(whole.model.parameters(), split.model.parameters(), strict=True):
        # Adam turns rounding in tiny gradients into whole steps of the learning rate at worst.
        assert (a - b).abs().max() < 1e-3


def test_accumulated_batches_average_their_losses():
    batches = [batch(i, density=0.5) for i in range(2)]
    accumulated = make_engine(accumulate=2)
    single = make_engine()
    separate = [run(make_engine(), [b], 1)[0] for b in batches]
    assert run(accumulated, batches, 1) == pytest.approx([sum(separate) / 2], rel=1e-6)
    run(single, batches[:1], 1)


def test_loss_falls_and_masked_weights_stay_zero():
    engine = make_engine(max_gradient_norm=1.0)
    losses = run(engine, [batch(1)] * 60, 60)
    assert losses[0] == pytest.approx(math.log(40), abs=0.1)
    assert losses[-1] < 1.0
    for parameter in engine.update.sparsity.parameters:
        assert torch.count_nonzero(parameter.weight[~parameter.mask]) == 0


def test_the_first_step_has_the_schedules_first_rate():
    engine = make_engine()
    engine.update = replace(engine.update, schedule=LinearLR(0.0, 1e-2, 2))
    before = [p.detach().clone() for p in engine.model.parameters()]
    rates, moved = [], []

    def on_step(result) -> bool:
        rates.append(result.learning_rate)
        pairs = zip(before, engine.model.parameters(), strict=True)
        moved.append(not all(torch.equal(a, b) for a, b in pairs))
        return True

    engine.train([batch(1)] * 3, 0, 3, 1, on_step)
    assert rates == [0.0, 5e-3, 1e-2]
    assert moved == [False, True, True]


def test_the_reported_norm_is_of_masked_gradients_before_clipping():
    engine = make_engine(max_gradient_norm=1e-3)
    seen = []
    engine.train([batch(1)], 0, 1, 1, lambda r: seen.append(r.grad_norm) or True)
    plain = make_engine()
    ids, labels = batch(1).input_ids, batch(1).labels
    (LossModule(plain.model)(ids, labels.flatten().long())[0] / 48).backward()
    plain.update.sparsity.mask_gradients(1)
    norm = math.sqrt(sum(float(p.grad.square().sum()) for p in plain.model.parameters()))
    assert seen == pytest.approx([norm], rel=1e-5)


def test_nan_stops_and_names_step_and_batch():
    engine = make_engine()
    with torch.no_grad():
        engine.model.model.ln_f.weight[0] = float("nan")
    with pytest.raises(NonFiniteLoss, match=r"step 1: the loss is nan.*sample 6 "):
        run(engine, [batch(1)], 1)


def test_a_run_that_is_stopped_between_logging_steps_keeps_no_nan():
    engine = make_engine()
    engine.waits = True  # as for a GPU, whose values are read at logging steps
    engine.model.model.ln_f.weight.data.fill_(float("nan"))
    losses = []
    batches = [batch(i) for i in range(9)]
    with pytest.raises(NonFiniteLoss, match="step 2: the loss is nan"):
        engine.train(batches, 0, 9, 5, lambda r: losses.append(r.loss) or len(losses) < 2)
    assert losses == [None, None]


def test_stops_when_asked():
    engine = make_engine()
    assert engine.train([batch(i) for i in range(5)], 0, 5, 1, lambda r: r.step < 2) == 2


def test_evaluation_is_a_token_average_and_changes_nothing():
    engine = make_engine()
    before = engine.state()
    small, large = batch(1, size=2, density=0.5), batch(2, size=5)
    together = engine.evaluate([small, large])
    parts = [engine.evaluate([b]) for b in (small, large)]
    n_tokens = [p.n_tokens for p in parts]
    assert n_tokens == [int(small.loss_mask.sum()), 40]
    expected = sum(p.loss * p.n_tokens for p in parts) / sum(n_tokens)
    assert together.loss == pytest.approx(expected, rel=1e-6)
    after = engine.state()
    assert all(torch.equal(t, after.model[n]) for n, t in before.model.items())


def test_state_round_trip_is_bit_identical():
    batches = [batch(i) for i in range(6)]
    straight = make_engine()
    losses = run(straight, batches, 6)
    first = make_engine()
    run(first, batches[:3], 3)
    second = make_engine(sparsity=0.75)
    with torch.no_grad():
        for parameter in second.model.parameters():
            parameter.fill_(7.0)
    second.load_state(first.state())
    resumed = []
    second.train(batches[3:], 3, 6, 1, lambda r: resumed.append(r.loss) or True)
    assert resumed == losses[3:]
    for name, tensor in straight.state().model.items():
        assert torch.equal(tensor, second.state().model[name]), name


def test_bf16_keeps_weights_in_fp32_and_the_loss_close():
    plain, half = make_engine(), make_engine()
    half.autocast = torch.bfloat16
    batches = [batch(i) for i in range(4)]
    losses = run(plain, batches, 4), run(half, batches, 4)
    # bf16 has 8 bits of precision; a loss near ln 40 = 3.7 is off by a few of its last ones.
    assert losses[1] == pytest.approx(losses[0], abs=0.03)
    assert losses[1] != losses[0]
    assert all(p.dtype == torch.float32 for p in half.model.parameters())
    for parameter in half.update.sparsity.parameters:
        assert torch.count_nonzero(parameter.weight[~parameter.mask]) == 0


def make_dynamic(algorithm: str, micro: int | None = None) -> TorchEngine:
    engine = make_engine(sparsity=None, micro=micro)
    rule = SparsityRule(0.75, algorithm=algorithm, updates=Every(2))
    masking = Masking(engine.model, [rule], seed=0)
    engine.update = replace(engine.update, sparsity=masking)
    return engine


@pytest.mark.parametrize("algorithm", ["set", "rigl"])
def test_dropped_weights_lose_value_and_moments_at_the_change(algorithm):
    engine = make_dynamic(algorithm)
    parameters = engine.update.sparsity.parameters
    masks = {p.name: p.mask.clone() for p in parameters}
    seen = []

    def check(result):
        state = engine.update.optimizer.state()
        for p in parameters:
            for tensor in (p.weight, *(state[f"{p.name}.{m}"] for m in ("exp_avg", "exp_avg_sq"))):
                assert torch.count_nonzero(tensor[~p.mask]) == 0
            assert int(p.mask.sum()) == p.mask.numel() // 4
        seen.append([not p.mask.equal(masks[p.name]) for p in parameters])
        return True

    engine.train([batch(i) for i in range(3)], 0, 3, 1, check)
    assert not any(seen[0])
    assert all(seen[1])


def test_rigl_sees_the_gradient_of_the_whole_batch():
    whole, split = make_dynamic("rigl"), make_dynamic("rigl", micro=2)
    for engine in (whole, split):
        run(engine, [batch(i) for i in range(2)], 2)
    for a, b in zip(
        whole.update.sparsity.parameters, split.update.sparsity.parameters, strict=True
    ):
        assert a.mask.equal(b.mask)


@pytest.mark.skipif(
    torch.__version__.startswith("2.4."), reason="torch 2.4 has no fused AdamW without values"
)
@pytest.mark.parametrize("density", [1.0, 0.3])
def test_between_logging_steps_the_host_does_not_wait_for_the_device(density, monkeypatch):
    """Tensors on the meta device have no values, so reading one raises."""
    meta = torch.device("meta")  # which autocast does not know
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda device: False)
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
    model = make_model()
    masking = Masking(model, [SparsityRule(0.75)], seed=0)
    model.to(meta)
    optimizer = AdamW(model, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1)
    update = Update(optimizer, ConstantLR(1e-2), masking, 1.0, grad_accum_steps=2)
    engine = TorchEngine(model, meta, update, micro_batch_size=2)
    batches = [batch(i, density=density) for i in range(6)]
    losses = []
    with pytest.raises(RuntimeError, match="meta"):  # at the end, to keep no weights that are nan
        engine.train(batches, 0, 5, 4, lambda r: losses.append(r.loss) or len(losses) < 3)
    assert losses == [None, None, None]
    with pytest.raises(RuntimeError, match="meta"):
        engine.train(batches, 0, 5, 1, lambda r: True)


def test_on_a_gpu_a_batch_without_targets_still_has_positions():
    engine = make_engine()
    engine.device = torch.device("meta")
    for count, expected in ((0, 256), (1, 256), (256, 256), (257, 512), (999, 1000)):
        counts = torch.arange(1000) < count
        positions = engine._rounded(counts.nonzero().squeeze(-1), counts)
        assert len(positions.unique()) == len(positions) == expected
        assert positions[:count].equal(torch.arange(count))


def test_a_guessed_micro_batch_is_halved_until_it_fits(monkeypatch, capsys):
    forward = LossModule.forward

    def limited(module, ids, *rest, **options):
        if len(ids) > 2:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
        return forward(module, ids, *rest, **options)

    batches = [batch(i, size=8) for i in range(4)]
    expected = run(make_engine(micro=2, accumulate=2), batches, 2)
    monkeypatch.setattr(LossModule, "forward", limited)
    engine = make_engine(micro=8, accumulate=2)
    with pytest.raises(OutOfMemory, match=r"8 sequences at a time; set .*micro_batch_size: 4"):
        run(engine, batches, 2)
    engine.guessed = True
    assert run(engine, batches, 2) == expected
    assert engine.micro_batch_size == 2
    assert [line.split(";")[1].split(" (")[0] for line in capsys.readouterr().err.splitlines()] == [
        " going on with 4",
        " going on with 2",
    ]
