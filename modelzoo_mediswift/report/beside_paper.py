"""The paper's tables and its Figure 1 with our runs among its models."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from modelzoo_mediswift.report import paper
from modelzoo_mediswift.report.document import Block, Figure, Paragraph, Section, Series, Table
from modelzoo_mediswift.report.evaluations import Score
from modelzoo_mediswift.report.quantities import MISSING, count, decimal, percent, power
from modelzoo_mediswift.report.run import PRETRAINING, Run, pretrained_weights, total
from modelzoo_mediswift.report.scores import interval, newest_score

OURS = "this report"
THE_PAPER = "the paper"
SIZE = (
    "Size: weights of the decoder's matrices that no mask held at zero in pre-training, as the "
    "paper counts; the other models' are all their parameters. Losses on other data, or after "
    "fewer tokens, do not compare."
)
TASKS = (
    "The paper's scores are means of three seeds, chosen on validation; a run here is one run. "
    "They compare only where the examples are the official ones: 500 questions, 315 documents."
)


def beside_section(runs: Sequence[Run]) -> Section | None:
    """For reports that have something to put beside the paper's numbers."""
    pretrained = [run for run in runs if run.stage == PRETRAINING and run.train_losses]
    questions = _scored(runs, "pubmedqa")
    documents = _scored(runs, "hoc")
    blocks: list[Block] = []
    if pretrained:
        blocks += [_pretraining(pretrained, runs), Paragraph(SIZE)]
    if questions:
        blocks += [
            _task(
                "PubMedQA, reasoning-required: accuracy on the test questions (Table 3)",
                questions,
                runs,
                lambda model: model.pubmedqa,
                paper.PUBMEDQA,
            ),
            _figure(questions, runs),
        ]
    if documents:
        blocks.append(
            _task(
                "Hallmarks of Cancer, document level: micro-F1 on the test documents (Table 4)",
                documents,
                runs,
                lambda model: model.hoc,
                paper.HOC,
            )
        )
    if questions or documents:
        blocks.append(Paragraph(TASKS))
    return Section("Among the paper's models", tuple(blocks)) if blocks else None


def _scored(runs: Sequence[Run], task: str) -> list[tuple[Run, Score]]:
    """Runs with a score on the task's test split, each with that of its latest checkpoint."""
    found = [(run, newest_score(run, task)) for run in runs]
    return [(run, score) for run, score in found if score is not None and score.split == "test"]


def _pretraining(pretrained: Sequence[Run], runs: Sequence[Run]) -> Table:
    rows = [
        (
            run.name,
            OURS,
            count(pretrained_weights(run, runs)),
            count(run.tokens),
            decimal(run.train_losses[-1].loss),
            power(total(run.flops)),
            decimal(run.flops_ratio, 2),
        )
        for run in pretrained
    ]
    rows += [
        (
            f"MediSwift-{model.name}",
            THE_PAPER,
            count(model.weights),
            count(paper.TOKENS),
            decimal(model.loss),
            power(model.flops),
            decimal(model.ratio, 2),
        )
        for model in paper.MODELS
    ]
    return Table(
        "Pre-training: size, loss at the end and FLOPs (Tables 2 and 6)",
        ("Model", "From", "Size", "Tokens", "Loss", "FLOPs", "Of dense"),
        tuple(rows),
        text_columns=2,
    )


def _task(
    caption: str,
    scored: Sequence[tuple[Run, Score]],
    runs: Sequence[Run],
    value: Callable[[paper.Model], float],
    others: Sequence[paper.Other],
) -> Table:
    rows = [
        (
            run.name,
            OURS,
            f"by {score.how}, {score.num_examples} examples",
            count(pretrained_weights(run, runs)),
            percent(score.headline, 2),
            interval(score),
        )
        for run, score in scored
    ]
    rows += [
        (f"MediSwift-{m.name}", THE_PAPER, "", count(m.weights), percent(value(m), 2), MISSING)
        for m in paper.MODELS
    ]
    rows += [
        (other.name, THE_PAPER, other.note, count(other.parameters), percent(other.score, 2), "-")
        for other in others
    ]
    header = ("Model", "From", "", "Size", "Score", "95 % interval")
    return Table(caption, header, tuple(rows), text_columns=3)


def _figure(scored: Sequence[tuple[Run, Score]], runs: Sequence[Run]) -> Figure:
    """Accuracy over size, in millions."""
    series = []
    for colour, (name, sparsity) in enumerate((("dense", 0.0), ("50 %", 0.5), ("75 %", 0.75))):
        models = [model for model in paper.MODELS if model.sparsity == sparsity]
        series.append(
            Series(
                f"MediSwift, {name} (the paper)",
                tuple(model.weights / 1e6 for model in models),
                tuple(100 * model.pubmedqa for model in models),
                colour,
                labels=tuple(model.name.partition(",")[0] for model in models),
            )
        )
    known = [other for other in paper.PUBMEDQA if other.parameters is not None]
    series.append(
        Series(
            "other models (the paper)",
            tuple((other.parameters or 0.0) / 1e6 for other in known),
            tuple(100 * other.score for other in known),
            9,
            labels=tuple(other.name for other in known),
        )
    )
    parts = []
    for i, (run, score) in enumerate(scored):
        weights, accuracy = pretrained_weights(run, runs) or run.matrix_weights, score.accuracy
        if weights and accuracy is not None:
            colour = (3, 4, 5, 6, 7, 8)[i % 6]
            series.append(
                Series(run.name, (weights / 1e6,), (100 * accuracy,), colour, dashed=True)
            )
            parts.append(f"{run.name}: {count(weights)} weights, {percent(accuracy)}")
    return Figure(
        "Size and PubMedQA accuracy (Figure 1)",
        "Diamonds are runs of this report, circles the paper's numbers.",
        "; ".join(parts),
        "size in millions of weights",
        "accuracy in %",
        tuple(series),
        scatter=True,
    )
