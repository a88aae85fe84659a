"""What a sweep found: the chosen configuration, its test score, the grid as table and heat map."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from modelzoo_mediswift.sweep.grid import (
    COMPLETE,
    PRUNED,
    Configuration,
    Grid,
    Outcome,
    Outcomes,
    Point,
)
from modelzoo_mediswift.whole_files import write_json

RESULT_FILE = "result.json"


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Mean and sample standard deviation (None for one value)."""
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return {"values": list(values), "mean": statistics.fmean(values), "sd": deviation}


def result_record(
    grid: Grid, outcomes: Outcomes, metric: str, test: Mapping[int, float]
) -> dict[str, Any]:
    """The result, ready for JSON; `test` holds the chosen configuration's test score by seed."""
    chosen = grid.best(outcomes)
    assert chosen is not None
    return {
        "metric": metric,
        "chosen_by": f"mean validation {metric} over {len(grid.seeds)} seeds",
        "configuration": chosen._asdict(),
        "seeds": list(grid.seeds),
        "validation": spread(grid.scores(chosen, outcomes) or []),
        "test": spread([test[seed] for seed in grid.seeds]),
        "runs": [_row(point, outcomes.get(point), test, chosen) for point in grid.points()],
    }


def _row(
    point: Point, found: Outcome | None, test: Mapping[int, float], chosen: Configuration | None
) -> dict[str, Any]:
    return {
        **point.configuration._asdict(),
        "seed": point.seed,
        "state": found.state if found else "not run",
        "epochs": found.epochs if found else 0,
        "validation": found.score if found else None,
        "test": test.get(point.seed) if point.configuration == chosen else None,
        "folder": point.name,
    }


def write_result(folder: Path, grid: Grid, outcomes: Outcomes, record: dict[str, Any]) -> None:
    """`result.json`, `grid.md`, `grid.csv`, `heat_map.png` and `heat_map.svg`; the first last."""
    (folder / "grid.md").write_text(markdown(grid, outcomes, record), encoding="utf-8")
    text = io.StringIO()
    table = csv.DictWriter(text, list(record["runs"][0]), lineterminator="\n")
    table.writeheader()
    table.writerows(record["runs"])
    (folder / "grid.csv").write_text(text.getvalue(), encoding="utf-8")
    figure = heat_map(grid, outcomes, record["metric"])
    figure.savefig(folder / "heat_map.png", dpi=150)
    figure.savefig(folder / "heat_map.svg")
    write_json(folder / RESULT_FILE, record)


def markdown(grid: Grid, outcomes: Outcomes, record: Mapping[str, Any] | None) -> str:
    """The whole grid, and what was chosen once it is finished."""
    seeds = "".join(f" seed {seed} |" for seed in grid.seeds)
    lines = [
        f"| batch size | learning rate |{seeds} mean |",
        "|---:|---:|" + "---:|" * (len(grid.seeds) + 1),
    ]
    chosen = grid.best(outcomes) if record else None
    for configuration in grid.configurations:
        cells = [_cell(outcomes.get(Point(configuration, seed))) for seed in grid.seeds]
        scores = grid.scores(configuration, outcomes)
        mean = percent(statistics.fmean(scores)) if scores else ""
        if configuration == chosen:
            mean = f"**{mean}**"
        size, rate = configuration
        lines.append(f"| {size} | {rate:g} | {' | '.join([*cells, mean])} |")
    if record:
        lines += ["", summary(record)]
    return "\n".join(lines) + "\n"


def summary(record: Mapping[str, Any]) -> str:
    """The result in two sentences."""
    size, rate = record["configuration"].values()
    test, metric = record["test"], record["metric"]
    deviation = "" if test["sd"] is None else f" ± {percent(test['sd'])}"
    values = ", ".join(percent(value) for value in test["values"])
    return (
        f"Validation chose batch size {size} and learning rate {rate:g} "
        f"({metric} {percent(record['validation']['mean'])} %). Test {metric} there: "
        f"{percent(test['mean'])}{deviation} % (seeds: {values})."
    )


def percent(share: float) -> str:
    return f"{100 * share:.1f}"


def _cell(found: Outcome | None) -> str:
    if found is None:
        return ""
    if found.state == COMPLETE and found.score is not None:
        return percent(found.score)
    if found.state == PRUNED:
        return found.reason or f"pruned after {found.epochs}"
    return "running"


def heat_map(grid: Grid, outcomes: Outcomes, metric: str) -> Figure:
    """Mean validation score by batch size and learning rate; what was pruned is left white."""
    means: list[list[float]] = []
    for size in grid.batch_sizes:
        found = [grid.scores(Configuration(size, rate), outcomes) for rate in grid.learning_rates]
        means.append([100 * statistics.fmean(f) if f else float("nan") for f in found])
    columns, rows = len(grid.learning_rates), len(grid.batch_sizes)
    figure = Figure(figsize=(2.2 + 1.1 * columns, 1.6 + 0.7 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    image = axes.imshow(means, cmap="viridis", aspect="auto")
    axes.set_xticks(range(columns), [f"{rate:g}" for rate in grid.learning_rates])
    axes.set_yticks(range(rows), [str(size) for size in grid.batch_sizes])
    axes.set_xlabel("learning rate")
    axes.set_ylabel("batch size")
    chosen = grid.best(outcomes)
    known = [value for row in means for value in row if value == value]
    middle = (min(known) + max(known)) / 2 if known else 0.0
    for y, size in enumerate(grid.batch_sizes):
        for x, rate in enumerate(grid.learning_rates):
            value = means[y][x]
            label = "pruned" if value != value else f"{value:.1f}"
            best = Configuration(size, rate) == chosen
            colour = "black" if value != value or value > middle else "white"
            axes.text(
                x, y, label, ha="center", va="center", color=colour,
                fontweight="bold" if best else "normal",
            )  # fmt: skip
    axes.set_title(f"Validation {metric}, mean of {len(grid.seeds)} seeds", fontsize=10)
    figure.colorbar(image, ax=axes, label="%")
    return figure
