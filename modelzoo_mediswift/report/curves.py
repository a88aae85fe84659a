"""Loss, learning rate and speed over the course of training."""

from __future__ import annotations

from collections.abc import Sequence

from modelzoo_mediswift.report.document import Block, Figure, Section, Series, Table
from modelzoo_mediswift.report.quantities import MISSING, count, decimal, percent
from modelzoo_mediswift.report.run import FINE_TUNING, PRETRAINING, Run

MAX_POINTS = 400  # of a line; what a page can show
EARLY = 0.05  # share of a long training whose losses would flatten all that follows
TRAINING = "training"
UNITS = ((1e9, "billion tokens"), (1e6, "million tokens"), (1e3, "thousand tokens"))

Points = Sequence[tuple[int, float | None]]
"""(step, value)"""


def training_sections(runs: Sequence[Run]) -> list[Section]:
    """One section per stage, with all its runs in one plot, as in the paper's Figure 2."""
    titles = {PRETRAINING: "Pre-training", FINE_TUNING: "Fine-tuning"}
    sections = []
    for stage, title in titles.items():
        chosen = [run for run in runs if run.stage == stage]
        blocks = _blocks(chosen)
        if blocks:
            sections.append(Section(title, blocks))
    return sections


def _blocks(runs: Sequence[Run]) -> tuple[Block, ...]:
    if not any(run.log.train or run.log.evaluations for run in runs):
        return ()
    axis = _Axis(runs)
    figures = (_loss(runs, axis), _learning_rate(runs, axis), _speed(runs, axis))
    return (*(figure for figure in figures if figure.series), *_first_and_last(runs))


class _Axis:
    """Steps as tokens, where the tokens of a step are known for every run."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self.scale: float | None = None
        self.label = "steps"
        most = max(run.log.last_step * (run.tokens_per_step or 0) for run in runs)
        if most and all(run.tokens_per_step for run in runs):
            self.scale, self.label = next(
                ((unit, name) for unit, name in UNITS if most >= unit), (1.0, "tokens")
            )

    def position(self, run: Run, step: float) -> float:
        if self.scale is None:
            return step
        return step * (run.tokens_per_step or 0) / self.scale

    def line(self, run: Run, points: Points, colour: int, dashed: bool = False) -> list[Series]:
        """One line, or none where there is nothing to draw."""
        known = thinned([(float(step), value) for step, value in points if value is not None])
        if not known:
            return []
        x = tuple(self.position(run, step) for step, _ in known)
        return [Series(run.name, x, tuple(value for _, value in known), colour, dashed)]


def thinned(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points, or means of as few neighbours as leave at most MAX_POINTS."""
    size = -(-len(points) // MAX_POINTS)
    if size <= 1:
        return points
    groups = [points[i : i + size] for i in range(0, len(points), size)]
    return [
        (sum(x for x, _ in group) / len(group), sum(y for _, y in group) / len(group))
        for group in groups
    ]


def _loss(runs: Sequence[Run], axis: _Axis) -> Figure:
    series: list[Series] = []
    parts = []
    for i, run in enumerate(runs):
        for name, losses in _losses(run).items():
            series += axis.line(run, losses, i, dashed=name != TRAINING)
            parts.append(f"{run.name}, {name}: {_from_to(losses)}")
    caption = "Nats per token. Solid: training; dashed: validation."
    top = None
    if any(len(run.train_losses) > MAX_POINTS for run in runs):
        top = _top_after(series, EARLY)
        caption += " Each point is the mean of several logged steps"
        caption += f"; the first {percent(EARLY, 0)} may lie above the plot." if top else "."
    return Figure("Loss", caption, "; ".join(parts), axis.label, "loss", tuple(series), top=top)


def _losses(run: Run) -> dict[str, Points]:
    """By the set that they are measured on; none is empty."""
    training = {TRAINING: [(point.step, point.loss) for point in run.train_losses]}
    validation = {
        name if name != TRAINING else f"validation on {name}": [(p.step, p.loss) for p in points]
        for name, points in run.validation_losses.items()
    }
    return {name: losses for name, losses in (training | validation).items() if losses}


def _top_after(series: Sequence[Series], share: float) -> float | None:
    """The highest value beyond this share of the horizontal axis, and a little room."""
    begin = share * max((line.x[-1] for line in series), default=0.0)
    later = [y for line in series for x, y in zip(line.x, line.y, strict=True) if x >= begin]
    if not later or max(later) == min(later):
        return None
    return max(later) + 0.05 * (max(later) - min(later))


def _from_to(points: Points) -> str:
    (first, before), (last, after) = points[0], points[-1]
    if first == last:
        return f"{decimal(after)} at step {count(last)}"
    return f"{decimal(before)} at step {count(first)}, {decimal(after)} at step {count(last)}"


def _learning_rate(runs: Sequence[Run], axis: _Axis) -> Figure:
    series: list[Series] = []
    parts = []
    for i, run in enumerate(runs):
        rates = [(point.step, point.learning_rate) for point in run.log.train]
        series += axis.line(run, rates, i)
        known = [rate for _, rate in rates if rate is not None]
        if known:
            parts.append(f"{run.name}: highest {max(known):.3g}, at the end {known[-1]:.3g}")
    description, title = "; ".join(parts), "Learning rate"
    return Figure(title, "", description, axis.label, title.lower(), tuple(series), from_zero=True)


def _speed(runs: Sequence[Run], axis: _Axis) -> Figure:
    series: list[Series] = []
    parts = []
    for i, run in enumerate(runs):
        series += axis.line(run, [(p.step, p.tokens_per_second) for p in run.log.train], i)
        if run.tokens_per_second is not None:
            parts.append(f"{run.name}: median {count(run.tokens_per_second)}")
    description = f"Tokens per second. {'; '.join(parts)}"
    label = "tokens per second"
    return Figure("Speed", "", description, axis.label, label, tuple(series), from_zero=True)


def _first_and_last(runs: Sequence[Run]) -> list[Table]:
    """Losses of all sets; the last evaluation's accuracy."""
    rows = []
    for run in runs:
        for name, losses in _losses(run).items():
            (first, before), (last, after) = losses[0], losses[-1]
            points = run.validation_losses.get(name)
            accuracy = percent(points[-1].accuracy) if points and name != TRAINING else MISSING
            steps = count(first), count(last)
            rows.append(
                (run.name, name, steps[0], decimal(before), steps[1], decimal(after), accuracy)
            )
    if not rows:
        return []
    header = ("Run", "Set", "First step", "Loss", "Last step", "Loss", "Next-token accuracy")
    return [Table("Loss at the first and the last logged step", header, tuple(rows), 2)]
