from collections.abc import Callable
from typing import Any

import pytest

from modelzoo_mediswift.plan.plan import make_plan
from modelzoo_mediswift.plan.render import amount, render_table

Make = Callable[..., Any]


def rows(table: str) -> dict[str, list[str]]:
    """Label -> cells of a table of one block; cells have two blanks or more between them."""
    lines = [line for line in table.splitlines() if line[0] != " "]
    return {line.split("  ")[0]: [c for c in line.split("  ")[1:] if c] for line in lines}


def test_one_plan(config: Make, block: type) -> None:
    plan = make_plan(
        config(sparsity=(block(0.75),), loop={"max_steps": 20}, warmup_steps=2, precision=True)
    )
    cells = {
        label: [c.strip() for c in cs] for label, cs in rows(render_table({"x": plan})).items()
    }
    assert cells["Parameters: matrices (Table 5)"] == ["384"]
    assert cells["Parameters: all"] == ["556"]
    assert cells["Parameters: not masked"] == ["268"]
    assert cells["Sparsity: feed-forward"] == ["75.00 %"]
    assert cells["Training: tokens"] == ["300"]
    assert cells["Training: warm-up steps"] == ["2 (10.0 %)"]
    # Per token: 6 * 96 + 10 * 10 * 4 + 12 * 2 * 5 * 4 + 12 * 2 * 2 * 5 = 576 + 400 + 480 + 240
    assert cells["FLOPs: linear"] == ["1.728e5 (34.0 %)"]
    assert cells["FLOPs: vocabulary"] == ["1.200e5 (23.6 %)"]
    assert cells["FLOPs: attention"] == ["1.440e5 (28.3 %)"]
    assert cells["FLOPs: softmax"] == ["7.200e4 (14.2 %)"]
    assert cells["FLOPs: total"] == ["5.088e5"]
    assert cells["FLOPs: dense"] == ["1.027e6"]
    assert cells["FLOPs: of dense"] == ["49.5 %"]
    assert cells["Memory: weights"] == ["2.17 KiB"]
    assert cells["Memory: masks"] == ["384 B"]
    assert cells["Checkpoint: size"] == ["6.89 KiB"]


def test_rows_that_only_some_plans_have(config: Make, block: type) -> None:
    table = render_table(
        {"a/sparse.yaml": make_plan(config(sparsity=(block(0.5, ("*word_emb*",)),))),
         "b/dense.yaml": make_plan(config(fit=None))},
        width=200,
    )  # fmt: skip
    assert table.splitlines()[0].split() == ["sparse", "dense"]
    cells = rows(table)
    assert [c.strip() for c in cells["Sparsity: word embeddings"]] == ["50.00 %", "-"]
    assert [c.strip() for c in cells["Memory: masks"]] == ["40 B", "-"]
    sections = list(dict.fromkeys(label.split(":")[0] for label in cells))
    assert sections == ["Parameters", "Sparsity", "Training", "FLOPs", "Memory", "Checkpoint"]


@pytest.mark.parametrize(("width", "blocks"), [(1000, 1), (20, 5), (72, 3)])
def test_columns_wrap(config: Make, width: int, blocks: int) -> None:
    plans = {f"file{i}.yaml": make_plan(config(loop={"max_steps": 1})) for i in range(5)}
    table = render_table(plans, width=width)
    parts = table.split("\n\n")
    assert len(parts) == blocks
    assert all(part.count("Parameters: all") == 1 for part in parts)
    assert table.count("file") == 5
    if width > 60:
        assert max(map(len, table.splitlines())) <= width


def test_files_of_one_name_keep_their_paths(config: Make) -> None:
    plan = make_plan(config())
    table = render_table({"a/x.yaml": plan, "b/x.yaml": plan}, width=200)
    assert table.splitlines()[0].split() == ["a/x.yaml", "b/x.yaml"]


def test_nothing_to_show() -> None:
    assert render_table({}) == ""


def test_stages_of_a_recipe_have_short_names(config: Make) -> None:
    plan = make_plan(config(fit=None))
    table = render_table({f"a/b.yaml {i}": plan for i in (1, 2)}, width=200)
    assert table.splitlines()[0].split() == ["b", "1", "b", "2"]


def test_a_small_number_is_not_zero() -> None:
    assert [amount(x) for x in (1234.5, 0.1, 0.0321, 0.0)] == ["1,234.50", "0.10", "0.032", "0.00"]
