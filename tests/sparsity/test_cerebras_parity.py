"""Masks, weights and moments against the Cerebras library, step for step.

The library's CPU backend keeps the first value of a scheduled drop fraction for ever, because its
cache compares tensors by identity and the step counter changes in place; on a CS system the value
moves on. These tests empty that cache after each step, and so compare with what a CS system does.
"""

import math
import warnings
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch.nn.functional import cross_entropy

from modelzoo_mediswift.build_model import build_sparsity_rule
from modelzoo_mediswift.config.dump import to_dict
from modelzoo_mediswift.config.load import load_config
from modelzoo_mediswift.config.sparsity import SparsityConfig
from modelzoo_mediswift.model.gpt3 import GPT3
from modelzoo_mediswift.optim.adamw import AdamW
from modelzoo_mediswift.plan.erk import erk_levels
from modelzoo_mediswift.sparsity.filters import SparsityRule
from modelzoo_mediswift.sparsity.masking import ALGORITHMS, Masking
from modelzoo_mediswift.sparsity.masks import number_kept
from modelzoo_mediswift.sparsity.set import SET

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    cstorch = pytest.importorskip("cerebras.pytorch", reason="cerebras-pytorch is not installed")

pytestmark = [pytest.mark.cerebras, pytest.mark.filterwarnings("ignore")]

STEPS = 24


class GlobalSET(SET):
    """SET with scores from PyTorch's global generator, as the library draws them."""

    def growth_scores(self, name, weight, gradient, step):
        return torch.rand_like(weight)


class Network(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Linear(12, 24)
        self.second = torch.nn.Linear(24, 12)

    def loss(self, step: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(step)
        x, y = torch.randn(2, 6, 12, generator=generator)
        return (self(x) - y).square().mean()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(torch.tanh(self.first(x)))


class Decoder(GPT3):
    def __init__(self) -> None:
        super().__init__(
            vocab_size=64,
            hidden_size=32,
            num_hidden_layers=2,
            num_heads=4,
            filter_size=128,
            max_position_embeddings=16,
        )

    def loss(self, step: int) -> torch.Tensor:
        ids = torch.randint(64, (8, 17), generator=torch.Generator().manual_seed(step))
        return cross_entropy(self(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten())


@torch.no_grad()
def initialize(model: torch.nn.Module) -> None:
    generator = torch.Generator().manual_seed(5)
    for parameter in model.parameters():
        parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator))


@pytest.fixture(scope="module")
def backend() -> object:
    return cstorch.backend("CPU")


def library(
    backend: object,
    config: object,
    kind: type = Network,
    steps: int = STEPS,
    learning_rate: float = 1e-2,
) -> list[dict[str, torch.Tensor]]:
    """The state before the first step and after each, moments included."""
    with backend.device:
        model = kind()
    initialize(model)
    sparsity = cstorch.sparse.configure(config)
    sparsity.apply(model)
    algorithms = [sparsity[i] for i in range(len(sparsity._groups))]
    for algorithm in algorithms:
        algorithm.initialize()
    groups = [
        {"params": [p for p in model.parameters() if p.dim() == 2], "weight_decay": 0.1},
        {"params": [p for p in model.parameters() if p.dim() == 1], "weight_decay": 0.0},
    ]
    optimizer = cstorch.optim.AdamW(groups, lr=learning_rate, betas=(0.9, 0.95), eps=1e-8)
    optimizer.apply(sparsity)
    states = []
    for step in range(1, steps + 1):
        loss = model.loss(step)
        loss.backward()
        torch.manual_seed(step)
        optimizer.step()
        optimizer.zero_grad()
        for algorithm in algorithms:
            if hasattr(algorithm, "drop_fraction"):
                algorithm.drop_fraction.cache_clear()
        states.append({"loss": loss.detach()} | state(model, optimizer.state))
    return states


def native(
    rules: list[SparsityRule],
    kind: type = Network,
    steps: int = STEPS,
    learning_rate: float = 1e-2,
) -> list[dict[str, torch.Tensor]]:
    """The same with this project's masks and optimizer."""
    model = kind()
    initialize(model)
    masking = Masking(model, rules, seed=0)
    optimizer = AdamW(model, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1)
    states = []
    for step in range(1, steps + 1):
        loss = model.loss(step)
        loss.backward()
        masking.mask_gradients(step)
        torch.manual_seed(step)
        optimizer.step(step - 1, learning_rate)
        for changed in masking.change_masks(step):
            optimizer.mask_moments(changed.weight, changed.mask)
        optimizer.zero_grad()
        states.append({"loss": loss.detach()} | state(model, optimizer.moments))
    return states


def state(
    model: torch.nn.Module, moments: Mapping[torch.nn.Parameter, dict[str, torch.Tensor]]
) -> dict[str, torch.Tensor]:
    tensors = {n: t.detach().clone() for n, t in model.state_dict().items()}
    for name, parameter in model.named_parameters():
        for key in ("exp_avg", "exp_avg_sq"):
            tensors[f"{name}.{key}"] = moments[parameter][key].detach().clone()
    return tensors


# Not every step: Adam's first update of all weights grown together has the same size, and which
# of them is smallest right after it is rounding.
FREQ = {"freq": 2}
LINEAR = {"type": "linear", "init": 0.1, "slope": 0.03}
COSINE = {"type": "cosine", "init": 0.4, "half_period": 20}
EXP = {"type": "exp", "init": 0.0, "gamma": math.log(0.9), "final": 0.9}
POWER = {"type": "power", "init": 0.9, "beta": 0.95}
FADING = {"type": "exp", "init": 0.5, "gamma": -0.1, "final": 0.1}
RISING = {"type": "cosine", "init": 0.1, "half_period": 24, "minimum": 0.8}
CYCLE = {"type": "cycling", "values": [0.5, 0.75, 0.6]}


@pytest.mark.parametrize(
    "blocks",
    [
        [{"algorithm": "static", "sparsity": 0.75}],
        [{"algorithm": "static", "sparsity": 0.6, "init_method": "checkerboard"}],
        [{"algorithm": "gmp", "sparsity": LINEAR}],
        [{"algorithm": "gmp", "sparsity": EXP, "update": {"freq": 3}}],
        [{"algorithm": "gmp", "sparsity": EXP, "update": {"freq": 5, "start": 4, "stop": 18}}],
        [{"algorithm": "gmp", "sparsity": [0.3, 0.5, 0.7, 0.9], "update": {"freq": 7}}],
        [{"algorithm": "gmp", "sparsity": LINEAR, "update": {"steps": [2, 3, 11]}}],
        [{"algorithm": "set", "sparsity": 0.75, "update": {"freq": 2}}],
        [{"algorithm": "set", "sparsity": 0.9, "update": FREQ, "drop_fraction": COSINE}],
        [{"algorithm": "set", "sparsity": 0.5, "update": FREQ, "drop_fraction": [0.1, 0.4, 0.2]}],
        [{"algorithm": "set", "sparsity": POWER, "update": {"freq": 3}, "drop_fraction": 0.5}],
        [{"algorithm": "rigl", "sparsity": 0.75, "update": {"freq": 2, "stop": 15}}],
        [{"algorithm": "rigl", "sparsity": 0.9, "update": FREQ, "drop_fraction": COSINE}],
        [{"algorithm": "rigl", "sparsity": 0.6, "balance_in_groups": 3, "update": {"freq": 4}}],
        [{"algorithm": "rigl", "sparsity": 0.6, "balance_out_groups": 4, "update": {"freq": 4}}],
        [{"algorithm": "rigl", "sparsity": 0.8, "update": {"freq": 6, "start": 5}}],
        [{"algorithm": "gmp", "sparsity": RISING, "update": {"steps": [0, 4, 9, 10, 20]}}],
        [{"algorithm": "gmp", "sparsity": [0.2, 0.8], "update": {"steps": [0, 8]}}],
        [{"algorithm": "set", "sparsity": {"type": "constant", "value": 0.75}, "update": FREQ}],
        [{"algorithm": "set", "sparsity": CYCLE, "update": {"steps": [0, 3, 7, 15]}}],
        [{"algorithm": "set", "sparsity": LINEAR, "update": FREQ, "drop_fraction": LINEAR}],
        [{"algorithm": "rigl", "sparsity": EXP, "update": {"steps": [2, 9, 20]}}],
        [{"algorithm": "rigl", "sparsity": CYCLE, "update": FREQ, "drop_fraction": POWER}],
        [{"algorithm": "rigl", "sparsity": RISING, "update": FREQ, "drop_fraction": CYCLE}],
        [{"algorithm": "rigl", "sparsity": 0.7, "update": FREQ, "drop_fraction": FADING}],
        [
            {"algorithm": "rigl", "sparsity": 0.5, "param_filter": "first*"},
            {"algorithm": "gmp", "sparsity": LINEAR, "param_filter": ["*.weight"]},
        ],
    ],
    ids=str,
)
def test_step_for_step(backend, monkeypatch, blocks):
    monkeypatch.setitem(ALGORITHMS, "set", GlobalSET)
    blocks = [{"init_method": "topk", **block} for block in blocks]
    theirs, ours = library(backend, blocks), native([rule(block) for block in blocks])
    for step, (one, other) in enumerate(zip(theirs, ours, strict=True), start=1):
        assert one.keys() == other.keys()
        for name, tensor in one.items():
            if name.endswith("_mask"):
                assert tensor.equal(other[name]), f"step {step}: {name}"
            else:
                torch.testing.assert_close(other[name], tensor, rtol=1e-4, atol=1e-6)
    assert any(name.endswith("_mask") for name in ours[0])


@pytest.mark.parametrize(
    "block",
    [
        {"algorithm": "gmp", "sparsity": EXP, "update": {"freq": 3}},
        {"algorithm": "set", "sparsity": 0.75, "update": {"freq": 5}, "drop_fraction": COSINE},
        {"algorithm": "rigl", "sparsity": 0.75, "update": {"freq": 5}, "balance_out_groups": 4},
    ],
    ids=str,
)
def test_a_decoder_for_fifty_steps(backend, monkeypatch, block):
    monkeypatch.setitem(ALGORITHMS, "set", GlobalSET)
    block = {"init_method": "topk", **block}
    # Rounding grows with the learning rate: at 1e-2, after 50 steps, it can tell apart two weights
    # of which one is to be dropped.
    theirs = library(backend, block, Decoder, 50, 1e-3)
    ours = native([rule(block)], Decoder, 50, 1e-3)
    for step, (one, other) in enumerate(zip(theirs, ours, strict=True), start=1):
        assert float(other["loss"]) == pytest.approx(float(one["loss"]), abs=1e-5)
        for name, tensor in one.items():
            if name.endswith("_mask"):
                assert tensor.equal(other[name]), f"step {step}: {name}"


@pytest.mark.parametrize("algorithm", ["static", "rigl"])
def test_levels_of_each_layer_are_ordinary_blocks(backend, algorithm):
    """Erdos-Renyi-Kernel levels, which the library does not compute."""
    matrices = {n: p.shape for n, p in Decoder().named_parameters() if "layer.weight" in n}
    by_name = erk_levels(matrices, 0.75)
    assert len(set(by_name.values())) > 1
    update = {"update": {"freq": 4}} if algorithm == "rigl" else {}
    blocks = [
        {"algorithm": algorithm, "sparsity": level, "init_method": "topk", "param_filter": [name]}
        | update
        for name, level in by_name.items()
    ]
    theirs = library(backend, blocks, Decoder)
    ours = native([rule(block) for block in blocks], Decoder)
    for step, (one, other) in enumerate(zip(theirs, ours, strict=True), start=1):
        assert float(other["loss"]) == pytest.approx(float(one["loss"]), abs=1e-5)
        for name, level in by_name.items():
            mask = other[name + "_mask"]
            assert mask.equal(one[name + "_mask"]), f"step {step}: {name}"
            assert int(mask.sum()) == number_kept(mask.numel(), level)


@pytest.mark.parametrize("name", ["gmp", "set", "rigl"])
def test_the_library_reads_what_we_write(backend, name):
    config = load_config(Path(__file__).parents[2] / "params" / "sparsity" / f"{name}.yaml")
    blocks = to_dict(config)["trainer"]["init"]["sparsity"]
    group = cstorch.sparse.configure(blocks)
    assert [type(group[i]).__name__.lower() for i in range(len(blocks))] == [name] * len(blocks)


def rule(block: dict) -> SparsityRule:
    config = SparsityConfig.model_validate(block)
    return build_sparsity_rule(config)
