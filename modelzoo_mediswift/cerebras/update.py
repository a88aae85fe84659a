"""The library's optimizer, schedule, sparsity and loss scaling, from this project's sections."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cerebras.pytorch as cstorch
import torch
from torch import Tensor, nn

from modelzoo_mediswift.config.execution import PrecisionConfig
from modelzoo_mediswift.config.optimizer import AdamW, Scheduler, SequentialLR

lr_scheduler = cstorch.optim.lr_scheduler


@dataclass(frozen=True)
class Step:
    """What a traced training step reports; scalars on the device."""

    loss: Tensor
    learning_rate: Tensor
    grad_norm: Tensor | None  # None where gradients are not clipped by norm
    loss_scale: Tensor | None  # for the next step; None where it is constant
    free_loss_scale: Tensor | None  # what it would be without its lower bound


class Update:
    """Everything that turns gradients into new weights, in Model Zoo's order."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: AdamW,
        scheduler: Scheduler | None,
        precision: PrecisionConfig,
        sparsity: Sequence[Mapping[str, Any]],
    ) -> None:
        """`sparsity` holds the YAML's blocks, which go to the library as they are.

        `model` has to be compiled for the backend (`cstorch.compile`) before.
        """
        self.optimizer = cstorch.optim.AdamW(
            _parameter_groups(model, optimizer.weight_decay),
            lr=optimizer.learning_rate or 0.0,
            betas=optimizer.betas,
            eps=optimizer.eps,
            correct_bias=optimizer.correct_bias,
        )
        self.parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        by_id = {id(p): name for name, p in model.named_parameters()}
        self.names = [by_id[id(p)] for p in self.parameters]
        self.sparsity = None
        if sparsity:
            self.sparsity = cstorch.sparse.configure([dict(block) for block in sparsity])
            self.sparsity.apply(model)
            self.sparsity.apply(self.optimizer)
        self.scheduler = _scheduler(self.optimizer, scheduler) if scheduler else None
        self.scaler = _scaler(precision)
        self.log_loss_scale = bool(precision.log_loss_scale)
        self.max_gradient_norm = precision.max_gradient_norm
        self.max_gradient_value = precision.max_gradient_value

    def step(self, loss: Tensor) -> Step:
        """Backward pass, clipping, optimizer, schedule; to be called inside a traced function."""
        if self.scaler is None:
            loss.backward()
        else:
            self.scaler.scale(loss).backward()
            self.scaler.unscale_(self.optimizer)
        grad_norm = None
        if self.max_gradient_norm is not None:
            grad_norm = nn.utils.clip_grad_norm_(self.parameters, self.max_gradient_norm)
        if self.max_gradient_value is not None:
            nn.utils.clip_grad_value_(self.parameters, self.max_gradient_value)
        learning_rate = self.optimizer.param_groups[0]["lr"]
        if self.scaler is None:
            self.optimizer.step()
        else:
            self.scaler.step(self.optimizer)
            self.scaler.update()
        self.optimizer.zero_grad()
        if self.scheduler is not None:
            self.scheduler.step()
        scale, free = self._loss_scales()
        return Step(loss, torch.as_tensor(learning_rate), grad_norm, scale, free)

    def _loss_scales(self) -> tuple[Tensor, Tensor] | tuple[None, None]:
        if self.scaler is None or not self.scaler.dynamic:
            return None, None
        return self.scaler.get_scale(), self.scaler.get_non_clamped_scale()


def use_precision(precision: PrecisionConfig, csx: bool) -> None:
    """Set the library's half type and precision level; call it before the model is compiled."""
    cstorch.amp.enable_mixed_precision(csx or precision.enabled)
    cstorch.amp.set_half_dtype(precision.fp16_type if csx else torch.bfloat16)
    if precision.precision_opt_level is not None:
        cstorch.backends.csx.precision.optimization_level = precision.precision_opt_level


def _parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Decay is for matrices alone."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def _scheduler(optimizer: Any, config: Scheduler) -> Any:
    if isinstance(config, SequentialLR):
        return lr_scheduler.SequentialLR(
            optimizer,
            schedulers=[_scheduler(optimizer, part) for part in config.schedulers],
            milestones=list(config.milestones or ()),
        )
    build: Callable[..., Any] = getattr(lr_scheduler, config.key)
    return build(optimizer, **config.arguments())


def _scaler(precision: PrecisionConfig) -> Any:
    """None where the half type has the range of float32, and away from CSX."""
    if precision.fp16_type == "bfloat16" or not cstorch.use_cs():
        return None
    return cstorch.amp.GradScaler(
        loss_scale=precision.loss_scaling_factor,
        init_scale=precision.initial_loss_scale,
        steps_per_increase=precision.steps_per_increase,
        min_loss_scale=precision.min_loss_scale,
        max_loss_scale=precision.max_loss_scale,
    )
