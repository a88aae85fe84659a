"""`mediswift erk FILE`: a file's sparsity, distributed over layers as Erdos-Renyi-Kernel does."""

from __future__ import annotations

import argparse
import math
import re
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING

from modelzoo_mediswift.errors import UserError

if TYPE_CHECKING:
    from modelzoo_mediswift.config.sparsity import SparsityConfig
    from modelzoo_mediswift.config.trainer import TrainerConfig


def add_parser(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "erk",
        help="print a file's sparsity as blocks with Erdos-Renyi-Kernel (layer-wise) levels",
        description="Distribute a file's sparsity over its layers as Erdos-Renyi-Kernel does, and "
        "print the blocks for trainer.init.sparsity. They are ordinary blocks, which the Cerebras "
        "library reads too.",
        epilog="example: mediswift erk params/med_s75.yaml",
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="trainer YAML with sparsity")
    parser.add_argument(
        "--sparsity", type=float, help="level of all the matrices together (default: the file's)"
    )
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    import yaml

    from modelzoo_mediswift.config.load import load_config

    config = load_config(arguments.file)
    if not config.init.sparsity:
        raise UserError(f"{arguments.file}: has no trainer.init.sparsity to distribute")
    asked = arguments.sparsity
    if asked is not None and not 0 <= asked < 1:
        raise UserError(f"--sparsity: expected a number in [0, 1), got {asked}")
    print(yaml.safe_dump({"sparsity": erk_blocks(config, asked)}, sort_keys=False), end="")
    return 0


def erk_blocks(config: TrainerConfig, asked: float | None) -> list[dict[str, object]]:
    """Blocks as in the YAML: each of the file's, divided by level."""
    from modelzoo_mediswift.config.dump import to_dict
    from modelzoo_mediswift.plan.erk import erk_levels
    from modelzoo_mediswift.plan.parameters import block_by_name, parameter_shapes

    if any(block.algorithm == "gmp" for block in config.init.sparsity):
        raise UserError("gmp's levels change over training; ERK gives each matrix one level")
    shapes = parameter_shapes(config.init.model)
    chosen = block_by_name(shapes, config.init.sparsity)
    masked = {name: shapes[name] for name in chosen}
    levels = erk_levels(masked, _mean(config, masked) if asked is None else asked)
    written = to_dict(config)["trainer"]["init"]["sparsity"]  # type: ignore[index]
    blocks: list[dict[str, object]] = []
    for own, block in zip(written, config.init.sparsity, strict=True):
        by_level: dict[float, dict[str, None]] = {}
        for name, rule in chosen.items():
            if rule is block:
                glob = re.sub(r"\.layers\.\d+\.", ".layers.*.", name)
                by_level.setdefault(round(levels[name], 6), {})[glob] = None
        blocks += [
            deepcopy(own) | {"sparsity": level, "param_filter": list(globs)}
            for level, globs in by_level.items()
            if level > 0  # dense matrices belong to no block
        ]
    return blocks


def _mean(config: TrainerConfig, masked: dict[str, tuple[int, ...]]) -> float:
    """The level of all masked matrices together, where each has one that is constant."""
    from modelzoo_mediswift.plan.parameters import sparsity_by_name

    if any(not _constant(block) for block in config.init.sparsity):
        raise UserError(
            "the file's level changes over training; give a constant one with --sparsity"
        )
    levels = sparsity_by_name(masked, config.init.sparsity)
    zeros = sum(levels[name] * math.prod(shape) for name, shape in masked.items())
    return zeros / sum(math.prod(shape) for shape in masked.values())


def _constant(block: SparsityConfig) -> bool:
    return isinstance(block.sparsity, float)
