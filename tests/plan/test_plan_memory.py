from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from modelzoo_mediswift.plan.memory import (
    checkpoint_bytes,
    fitting_micro_batch,
    loss_bytes,
    saved_bytes_per_token,
    training_memory,
)
from modelzoo_mediswift.plan.parameters import count_parameters

Make = Callable[..., Any]


def test_state_by_hand(model: Make, block: type) -> None:
    """556 parameters, 384 of them masked (see test_plan_parameters)."""
    counts = count_parameters(model(), [block(0.75)])
    assert counts.total == 556
    memory = training_memory(model(), counts, sequences=3, sequence_length=5, mixed=False)
    assert memory.weights == memory.gradients == 4 * 556
    assert memory.optimizer == 2 * 4 * 556
    assert memory.masks == 384
    assert memory.half_weights == 0
    assert memory.activations == 3 * memory.activations_per_sequence
    assert memory.total == 16 * 556 + 384 + memory.activations + memory.loss
    alone = memory.of(3, accumulates=False)
    assert alone.total == memory.total - 4 * 556
    # After the backward pass: gradients where activations were.
    assert replace(alone, activations=0, loss=0).total == 16 * 556 + 384
    assert checkpoint_bytes(counts) == 12 * 556 + 384


def test_earlier_micro_batches_leave_no_copies_of_rigl(model: Make, block: type) -> None:
    counts = count_parameters(model(), [block(0.75, algorithm="rigl")])
    assert counts.kept_gradients > 0
    settings = {"sequence_length": 5, "mixed": False}
    memory = training_memory(model(), counts, sequences=3, **settings)
    assert memory.of(3, accumulates=True) == memory
    assert memory.of(3, accumulates=False).earlier_gradients == 0


def test_half_precision_copies_the_matrices(model: Make) -> None:
    """The decoder's 384 weights and the output layer's 10 * 4."""
    counts = count_parameters(model(), [])
    memory = training_memory(model(), counts, sequences=1, sequence_length=5, mixed=True)
    assert memory.half_weights == 2 * (384 + 40)


def test_saved_bytes_by_hand(model: Make) -> None:
    """2 layers, d = 4, 2 heads, feed-forward 16, 10 words, in float32.

    Layer: two norms of 16 + 8, input of q, k, v 16, q, k, v 48, softmax 8, input of the output
    projection 16, input of the feed-forward block 16, around GELU 128: 280. Beside the layers:
    token id 8, last norm 24, gradient of the output layer's input 16.
    """
    assert saved_bytes_per_token(model(), mixed=False) == 2 * 280 + 8 + 24 + 16
    # In half precision: 2 * 24 + 3 copies of 8, 24, 8, 8, 8, 64 = 184 in a layer.
    assert saved_bytes_per_token(model(), mixed=True) == 2 * 184 + 8 + 24 + 16
    # A compiler needs one copy of 8.
    assert saved_bytes_per_token(model(), mixed=True, compiled=True) == 2 * 168 + 8 + 24 + 16


def test_loss_by_hand(model: Make) -> None:
    """10 words, d = 4: logits of the positions of a chunk, and two gradients of 10 x 4."""
    assert loss_bytes(model(), 15, mixed=False) == 4 * 10 * 15 + 2 * 4 * 40
    assert loss_bytes(model(), 5000, mixed=False) == 4 * 10 * 4096 + 2 * 4 * 40
    assert loss_bytes(model(), 15, mixed=True) == (4 + 2 + 2) * 10 * 15 + (4 + 4 + 2) * 40
    assert loss_bytes(model(), 15, mixed=False, compiled=True) == (4 + 4) * 10 * 15 + 4 * 40
    assert loss_bytes(model(), 15, mixed=True, compiled=True) == (2 + 2) * 10 * 15 + (4 + 2) * 40


def test_the_chunk_is_the_loss_functions(model: Make) -> None:
    from modelzoo_mediswift.model.loss import CHUNK
    from modelzoo_mediswift.plan.memory import LOSS_CHUNK

    assert CHUNK == LOSS_CHUNK


def test_micro_batch_that_fits(model: Make) -> None:
    counts = count_parameters(model(), [])
    memory = training_memory(model(), counts, sequences=12, sequence_length=5, mixed=False)
    fixed, each = memory.total - memory.activations, memory.activations_per_sequence
    whole = fixed - memory.gradients + 12 * each  # of one micro-batch there is no earlier one
    assert fitting_micro_batch(memory, 12, whole) == 12
    assert fitting_micro_batch(memory, 12, whole - 1) == 6
    assert fitting_micro_batch(memory, 12, whole, accumulates=True) == 6
    assert fitting_micro_batch(memory, 12, fixed + 5 * each) == 4
    assert fitting_micro_batch(memory, 12, 0) == 1


@pytest.mark.filterwarnings("ignore:`torch.jit.script_method`")  # PyTorch's own, compiling
@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("mixed", [False, True])
def test_autograd_saves_as_many_bytes(model: Make, mixed: bool, compiled: bool) -> None:
    """Against what PyTorch keeps for the backward pass of the real model."""
    import torch

    from modelzoo_mediswift.model.gpt3 import GPT3
    from modelzoo_mediswift.model.loss import LossModule

    shape = model(
        vocab_size=200, max_position_embeddings=64, hidden_size=256, num_heads=4, filter_size=1024
    )
    net = GPT3(
        vocab_size=200,
        max_position_embeddings=64,
        hidden_size=256,
        num_hidden_layers=2,
        num_heads=4,
        filter_size=1024,
    )
    module = LossModule(net)
    if compiled:
        module.compile_parts(backend="aot_eager_decomp_partition")
    weights = {parameter.untyped_storage().data_ptr() for parameter in net.parameters()}

    def saved(sequences: int) -> int:
        kept: dict[int, torch.UntypedStorage] = {}

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in weights:
                kept[storage.data_ptr()] = storage
            return tensor

        ids = torch.randint(0, 200, (sequences, 64))
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            module(ids, ids.flatten())  # programs are made without the hooks
            with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
                module(ids, ids.flatten())
        return sum(storage.nbytes() for storage in kept.values())

    # The difference leaves out what does not grow with the batch: half-precision weights.
    per_token = (saved(6) - saved(2)) / (4 * 64)
    planned = saved_bytes_per_token(shape, mixed=mixed, compiled=compiled)
    assert per_token == pytest.approx(planned, rel=0.01)
