"""The decoder's matrix products in 8-bit floating point, as torchao computes them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from modelzoo_mediswift.errors import UserError
from modelzoo_mediswift.model.gpt3 import GPT3

KEY = "trainer.init.precision.fp8"
CAPABILITY = (8, 9)  # the first one of NVIDIA's with FP8 tensor cores
MULTIPLE = 16  # FP8 tensor cores take matrices whose sides are multiples of it


def use_fp8(model: GPT3, recipe: str, device: torch.device, *, emulate: bool = False) -> None:
    """Let the decoder's linear layers multiply in FP8, scaled by torchao's `recipe`.

    Parameters stay the objects that they are, under their names, in fp32. The layers do not, and
    a new one has no buffers: masks are made after this. With `emulate` the same roundings are
    computed on any device, slowly. Raises UserError where the device, torchao or the shapes of
    the layers do not allow FP8.
    """
    if not emulate:
        _require_tensor_cores(device)
    float8 = _float8()
    decoder = model.model.transformer_decoder
    for name, parameter in decoder.named_parameters():
        if parameter.dim() == 2 and any(side % MULTIPLE for side in parameter.shape):
            rows, cols = parameter.shape
            raise UserError(
                f"{KEY}: FP8 needs hidden_size and filter_size in multiples of {MULTIPLE}; "
                f"{name} is {rows} x {cols}; leave the key out"
            )
    config = float8.Float8LinearConfig.from_recipe_name(recipe)
    # The weights' gradients are sums over tokens, of which a batch may have any number.
    config = replace(config, emulate=emulate, pad_inner_dim=True)
    float8.convert_to_float8_training(decoder, config=config)


def _require_tensor_cores(device: torch.device) -> None:
    needs = f"{KEY}: needs a GPU with FP8 tensor cores (compute capability 8.9 or higher)"
    if device.type != "cuda":
        raise UserError(f"{needs}, not a {device.type.upper()}; leave the key out")
    capability = torch.cuda.get_device_capability(device)
    if capability < CAPABILITY:
        name, found = torch.cuda.get_device_name(device), ".".join(map(str, capability))
        raise UserError(f"{needs}; {name} has {found}; leave the key out")


def _float8() -> Any:
    try:
        from torchao import float8
    except (ImportError, AttributeError) as error:  # the latter for types that torch lacks
        if isinstance(error, ModuleNotFoundError) and error.name == "torchao":
            raise UserError(
                f'{KEY}: torchao is not installed; pip install -e ".[fp8]", or leave the key out'
            ) from error
        raise UserError(
            f"{KEY}: the installed torchao does not work with torch {torch.__version__}, which "
            f"may be too old for it ({error})"
        ) from error
    return float8
