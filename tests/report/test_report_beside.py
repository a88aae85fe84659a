import json
from pathlib import Path
from typing import Any

import pytest
from run_records import finetune_start, score, start, train, whole_run

from modelzoo_mediswift.cli.main import main
from modelzoo_mediswift.report import paper
from modelzoo_mediswift.report.content import make_document
from modelzoo_mediswift.report.document import Figure, Section, Table
from modelzoo_mediswift.report.html_page import to_html
from modelzoo_mediswift.report.run import pretrained_weights, read_runs

MULTI = {
    "num_examples": 315,
    "micro_f1": 0.625,
    "example_based_f1": 0.5,
    "macro_f1": 0.25,
    "exact_match": 0.1,
    "exact_match_interval": [0.07, 0.14],
    "parse_failures": 0,
    "majority_micro_f1": 0.3,
}
RECORD = {
    "masks_sha256": "ab" * 32,
    "data_fingerprint": "cd" * 32,
    "revived_moved": 294_912,
    "machine": {"processor": "A processor", "cores": 2},
    "sessions": [
        {
            "wall_seconds": 100.0,
            "tokens": 1000,
            "padding_tokens": 50,
            "flops": 1e9,
            "flops_dense": 2e9,
            "energy_joules": {"RAPL package-0": 40.0},
        },
        {
            "wall_seconds": 20.0,
            "tokens": 200,
            "padding_tokens": 10,
            "flops": 1e8,
            "flops_dense": 2e8,
            "energy_joules": None,
        },
    ],
    "checkpoints": {"checkpoint_300": {"model.safetensors": "ef" * 32}},
}


def section(runs: list[Path], title: str, evaluations: list[Path] | None = None) -> Section:
    document = make_document(read_runs(runs, evaluations or []), None)
    to_html(document)
    return next(s for s in document.sections if s.title == title)


def table(found: Section, beginning: str) -> dict[str, tuple[str, ...]]:
    """Rows by their first cell."""
    tables = [b for b in found.blocks if isinstance(b, Table)]
    return {r[0]: r for t in tables if t.caption.startswith(beginning) for r in t.rows}


def test_our_runs_stand_among_the_models_of_the_paper(demo: list[Path]) -> None:
    found = section(demo, "Among the paper's models")
    losses = table(found, "Pre-training")
    assert losses["pretrain"][1:3] == ("this report", "196,608")
    assert losses["MediSwift-XL, 75 %"][2:] == (
        "301,989,888",
        "104,857,600,000",
        "2.141",
        "3.448e20",
        "0.38",
    )
    assert "finetune" not in losses
    questions = table(found, "PubMedQA")
    # The size is that of pre-training: three quarters of the weights were held at zero.
    assert questions["finetune"][3:5] == ("196,608", "81.00 %")
    assert questions["MediSwift-XL, dense"][4] == "76.80 %"
    assert questions["PMC-LLaMA"][3:5] == ("7,000,000,000", "73.40 %")
    assert len(questions) == 2 + 9 + 11  # the pre-trained model was scored too


def test_figure_1_holds_every_model_of_known_size(demo: list[Path]) -> None:
    found = section(demo, "Among the paper's models")
    (figure,) = [b for b in found.blocks if isinstance(b, Figure)]
    points = {s.name: list(zip(s.x, s.y, strict=True)) for s in figure.series}
    assert points["finetune"] == [(0.196608, pytest.approx(81.0))]
    assert len(points["other models (the paper)"]) == 9
    assert points["MediSwift, dense (the paper)"][2] == (1207.959552, pytest.approx(76.8))
    assert all(len(s.labels) in (0, len(s.x)) for s in figure.series)


def test_hoc_has_its_own_table_and_its_own_scores(make_run, write_scores) -> None:
    run = make_run(*whole_run(finetune_start(), 200, 2.0, 0.25), name="hoc")
    write_scores(run, "checkpoint_200", task="hoc", constrained=MULTI)
    scores = table(section([run], "Task scores"), "Scores where")
    assert scores["hoc"][4:] == (
        *("constrained", "315", "62.5 %", "50.0 %", "25.0 %", "10.0 %"),
        *("7.0 to 14.0 %", "0", "30.0 %"),
    )
    documents = table(section([run], "Among the paper's models"), "Hallmarks")
    assert documents["hoc"][4] == "62.50 %"
    assert documents["MediSwift-Med, 75 %"][4] == "83.95 %"
    assert documents["BioGPT"][4] == "85.12 %"


def test_other_splits_are_not_put_beside_the_test_scores(make_run, write_scores) -> None:
    run = make_run(start())
    path = write_scores(run, "checkpoint_200", likelihood=score(0.9))
    path.write_text(json.dumps({**json.loads(path.read_text()), "split": "validation"}))
    titles = [s.title for s in make_document(read_runs([run]), None).sections]
    assert "Among the paper's models" not in titles


@pytest.mark.parametrize("named", ["build/demo/pretrain/checkpoint_300", "./pretrain/best"])
def test_evaluations_elsewhere_belong_to_the_run_they_name(
    make_run: Any, tmp_path: Path, named: str
) -> None:
    run = make_run(start(), name="build/demo/pretrain")
    other = make_run(start(), name="build/demo/other")
    elsewhere = tmp_path / "scores" / "deep"
    elsewhere.mkdir(parents=True)
    content = {"task": "pubmedqa", "split": "test", "checkpoint": named}
    (elsewhere / "a.json").write_text(json.dumps({**content, "scores": {"likelihood": score(0.6)}}))
    (elsewhere / "b.json").write_text("[]")
    first, second = read_runs([run, other], [tmp_path / "scores"])
    assert [s.accuracy for s in first.scores] == [0.6]
    assert second.scores == ()


def test_a_missing_place_of_evaluations_is_one_line(demo: list[Path], capsys: Any) -> None:
    assert main(["report", str(demo[0]), "--evaluations", "nowhere"]) == 2
    assert "nowhere: no such file or folder" in capsys.readouterr().err


def test_what_a_run_took_is_summed_over_its_starts(demo: list[Path]) -> None:
    (demo[1] / "run_record.json").write_text(json.dumps(RECORD))
    found = section(demo, "Run records")
    spent = {name: row[1] for name, row in table(found, "Spent").items()}
    assert spent == {
        "Wall time": "2 min 00 s",
        "Tokens": "1,200",
        "Of these padding": "5.0 %",
        "FLOPs": "1.100e9",
        "FLOPs if dense": "2.200e9",
        "Energy": "40 J (RAPL package-0)",
        "Starts": "2",
    }
    made_of = table(found, "Hashes")
    assert made_of["Masks"][1] == "ab" * 32
    what = table(section(demo, "Summary"), "What was run")
    assert what["Of these not zero at the end"][2] == "294,912 (50.0 %)"


def test_tokens_of_a_run_whose_batches_were_cut(make_run) -> None:
    folder = make_run(*whole_run(finetune_start(), 200, 2.0, 0.25))
    sessions = [
        {"first_step": 0, "last_step": 120, "tokens": 120_000, "padding_tokens": 10},
        {"first_step": 100, "last_step": 200, "tokens": 100_000, "padding_tokens": 5},
    ]
    (folder / "run_record.json").write_text(json.dumps({"sessions": sessions}))
    (run,) = read_runs([folder])
    assert run.tokens_per_step == 1000
    assert run.tokens == 200_000
    assert run.seconds == pytest.approx(200_000 / 4096)


def test_flops_of_a_run_whose_batches_were_cut(make_run) -> None:
    folder = make_run(*whole_run(finetune_start(), 200, 2.0, 0.25))
    (whole,) = read_runs([folder])
    planned = whole.flops_per_token
    # Sequences of half the length halve attention's two terms, and nothing else.
    halves = {"linear": 1.0, "vocabulary": 1.0, "attention": 0.5, "softmax": 0.5}
    real = {term: share * planned[term] for term, share in halves.items()}
    session = {"first_step": 0, "last_step": 200, "tokens": 200_010, "padding_tokens": 10}
    session["flops"] = session["flops_dense"] = 200_010 * sum(real.values())
    (folder / "run_record.json").write_text(json.dumps({"sessions": [session]}))
    (run,) = read_runs([folder])
    assert run.tokens == 200_010
    assert run.flops_per_token == pytest.approx(real)
    assert sum(run.flops.values()) == pytest.approx(session["flops"])


def test_a_damaged_record_is_passed_over(demo: list[Path]) -> None:
    (demo[0] / "run_record.json").write_text('{"sessions": 3, "checkpoints": [], "machine": 1}')
    (demo[1] / "run_record.json").write_text("{")
    assert section(demo, "Run records").blocks


def test_zeros_by_layer(demo: list[Path]) -> None:
    rows = table(section(demo, "Sparsity"), "Zeros by layer: pretrain")
    assert list(rows) == ["0", "1", "2", "3"]
    assert set(rows["3"][1:]) == {"75.00 %"}
    tables = [b for b in section(demo, "Sparsity").blocks if isinstance(b, Table)]
    assert tables[1].header == ("Layer", "q", "k", "v", "output", "ffn.0", "ffn.1")
    assert len(rows["3"]) == 1 + 6


def test_differences_of_configuration(make_run) -> None:
    config = "trainer:\n  init:\n    seed: {}\n    model: {{a: 1}}\n    callbacks: [{}]\n"
    runs = [
        make_run(start(config=config.format(1, "{KeepNCheckpoints: {n: 2}}")), name="a"),
        make_run(start(config=config.format(2, "{LogSparsity: {}}")), name="b"),
    ]
    rows = table(section(runs, "Differences of configuration"), "Keys")
    assert rows == {
        "trainer.init.seed": ("trainer.init.seed", "1", "2"),
        "trainer.init.callbacks.KeepNCheckpoints.n": (
            "trainer.init.callbacks.KeepNCheckpoints.n",
            *("2", "-"),
        ),
        "trainer.init.callbacks.LogSparsity": (
            "trainer.init.callbacks.LogSparsity",
            *("-", "(set)"),
        ),
    }


def test_size_of_a_fine_tuned_run_whose_origin_is_unknown(make_run) -> None:
    (run,) = read_runs([make_run(finetune_start(), train(10))])
    assert pretrained_weights(run, [run]) is None


def test_the_table_of_the_paper_by_its_own_arithmetic() -> None:
    assert round(paper.MODELS[0].weights / 1e6) == 302
    assert [len(paper.MODELS), len(paper.PUBMEDQA), len(paper.HOC)] == [9, 11, 7]
