"""Gradients that overflow at any loss scale stop a run, as in Model Zoo."""

import pytest
import torch

from modelzoo_mediswift.engine.base import NonFiniteLoss

pytestmark = pytest.mark.cerebras


def result(loss: float, scale: float, free: float):
    from modelzoo_mediswift.cerebras.engine import _step_result
    from modelzoo_mediswift.cerebras.update import Step

    done = Step(*map(torch.tensor, (loss, 0.01, 1.5, scale, free)))
    return _step_result(7, 64, done, log_loss_scale=True)


def test_a_scale_that_may_still_fall_is_fine():
    done = result(2.5, scale=0.25, free=0.25)
    assert (done.step, done.n_tokens, done.loss, done.grad_norm) == (7, 64, 2.5, 1.5)
    assert done.loss_scale == 0.25


def test_overflow_at_the_smallest_scale_stops():
    with pytest.raises(NonFiniteLoss, match="step 7: gradients overflow at the smallest loss scal"):
        result(2.5, scale=2.0**-14, free=2.0**-15)


def test_so_does_a_loss_that_is_not_finite():
    with pytest.raises(NonFiniteLoss, match="step 7: the loss is nan"):
        result(float("nan"), scale=1.0, free=1.0)
