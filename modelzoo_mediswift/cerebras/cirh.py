"""Read what the library sends to the compiler: a module of Cerebras IR (CIRH) as text."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

OPERATION = re.compile(r"\b(cirh\.[A-Z]\w*)")
PRODUCT = re.compile(r"\bcirh\.(?:MatMul|DotGeneral)\b.*?: (\(.*?\) -> tensor<[^>]*>)")
TENSOR = re.compile(r"tensor<([^>]*)>")
ARGUMENT = re.compile(r'%arg\d+: tensor<[^>]*> \{([^}]*tf\.resource_name = "([^"]*)"[^}]*)\}')
SPARSITY = re.compile(r"cs\.sparsity = ([-+.0-9eE]+)")


@dataclass(frozen=True)
class Program:
    """What decides which kernels a program needs."""

    operations: Counter[str]  # name: how often
    products: Counter[tuple[str, str, str]]  # matrix products by types: left, right, result
    sparsity: dict[str, float]  # state tensor: the fraction of zeros that it is annotated with


def read_program(path: Path) -> Program:
    """One pass over the file, which has a long line for the whole signature."""
    operations: Counter[str] = Counter()
    products: Counter[tuple[str, str, str]] = Counter()
    sparsity: dict[str, float] = {}
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            operations.update(OPERATION.findall(line))
            product = PRODUCT.search(line)
            if product:
                left, right, result = TENSOR.findall(product[1])
                products[left, right, result] += 1
            if "func @" in line:
                sparsity.update(_annotations(line))
    return Program(operations, products, sparsity)


def summarize(path: Path) -> str:
    """One line: matrix products and sparse tensors."""
    program = read_program(path)
    levels = Counter(program.sparsity.values())
    sparse = ", ".join(f"{count} tensors at sparsity {s:g}" for s, count in sorted(levels.items()))
    return f"{program.products.total()} matrix products; {sparse or 'no sparse tensor'}"


def _annotations(signature: str) -> Iterator[tuple[str, float]]:
    for attributes, name in ARGUMENT.findall(signature):
        level = SPARSITY.search(attributes)
        if level:
            yield name, float(level[1])
