import re
from pathlib import Path

from run_records import SHAPES, evaluated, plan, score, start, train, whole_run

from modelzoo_mediswift.report.run import read_runs
from modelzoo_mediswift.report.terminal import WIDTH, render

PAGE = Path("build/report/report.html")
CORPUS = {
    "in": 12345,
    "dropped": {"title_only": 1200, "deleted": 3},
    "out": 11142,
    "sources": {"pubmed_abstract": {"in": 12000}},
    "options": {"seed": 1, "validation_share": 0.03},
}


def table(folders, corpus=None) -> dict[str, list[str]]:
    """Title -> its lines, with single spaces."""
    lines: dict[str, list[str]] = {}
    title = ""
    for line in render(read_runs(folders), corpus, PAGE).splitlines():
        title = title if line.startswith(" ") else line.split(maxsplit=1)[0]
        lines.setdefault(title, []).append(" ".join(line.removeprefix(title).split()))
    return lines


def test_every_number_of_the_demo(demo):
    lines = table(demo, CORPUS)
    assert lines["Corpus"] == [
        "in 12,345",
        "dropped: title_only 1,200",
        "dropped: deleted 3",
        "out 11,142",
    ]
    assert lines["Tokenizer"] == ["4,096 words SHA-256 abababababab..."]
    assert lines["Sparsity"] == [
        f"pretrain layers.*.{name} 75.00 % {size:,} of {4 * size:,} kept"
        for name, size in SHAPES.items()  # a quarter of four layers
    ]
    assert lines["Loss"] == [
        "pretrain training 8.250 -> 3.500 (steps 10 to 300)",
        # at 150 a share of 14/29 is done: 3.5 + 4.75 * (15/29)^3 + 0.125
        "pretrain validation 4.282 -> 3.625 (steps 150 to 300)",
        "finetune training 2.000 -> 0.250 (steps 10 to 200)",
        # 0.25 + 1.75 * (10/19)^3 + 0.125
        "finetune validation 0.630 -> 0.375 (steps 100 to 200)",
    ]
    assert lines["FLOPs"] == [
        # 8,044,544 and 11,583,488 per token, 1,228,800 tokens
        "pretrain 9.885e12 spent 1.423e13 if dense 30.6 % saved",
        "finetune 9.489e12 spent dense",
    ]
    assert lines["PubMedQA"] == [
        "pretrain before fine-tuning likelihood 53.0 % (46.0 to 59.0 %) majority 55.0 %",
        "pretrain before fine-tuning generation 0.0 % (0.0 to 6.0 %) majority 55.0 %",
        "finetune after 200 steps likelihood 81.0 % (74.0 to 87.0 %) majority 55.0 %",
        "finetune after 200 steps generation 80.5 % (73.5 to 86.5 %) majority 55.0 %",
    ]
    assert lines["Report"] == ["build/report/report.html"]
    assert lines["TensorBoard"] == [f"tensorboard --logdir {demo[0].parent}"]


def test_no_line_but_a_path_is_wider_than_the_table(make_run, write_scores):
    name = "a_run_with_a_very_long_name_that_goes_on_and_on_for_ever_and_a_day"
    folder = make_run(*whole_run(start(), 300, 8.0, 3.0), name=name)
    write_scores(folder, "checkpoint_300", likelihood=score(0.5))
    text = render(read_runs([folder]), {"x" * 150: 1} | CORPUS, PAGE)
    assert max(map(len, text.splitlines())) == WIDTH
    assert "75.00 %" in text
    assert "and_a_day" in text


def test_several_sparse_runs_take_a_line_each(make_run):
    folders = [make_run(start(), train(1), name=name) for name in ("a", "b")]
    assert table(folders)["Sparsity"] == [
        "a each of 6 kinds of layer 75.00 %",
        "b each of 6 kinds of layer 75.00 %",
    ]


def test_levels_that_change_are_those_of_the_start(make_run):
    changing = plan() | {"changing_level": True}
    folders = [make_run(start(plan=changing), train(1), name="a"), make_run(start(), name="b")]
    assert table(folders)["Sparsity"] == [
        "a each of 6 kinds of layer 75.00 % at first, then changing",
        "b each of 6 kinds of layer 75.00 %",
    ]
    assert table(folders[:1])["Sparsity"][0].endswith("75.00 % at first, then changing")


def test_run_that_has_hardly_begun(make_run):
    lines = table([make_run({"event": "start", "step": 0})])
    assert lines == {"Report": ["build/report/report.html"]}


def test_text_from_files_cannot_steer_the_terminal(make_run, write_scores):
    evil = "\x1b[31mred\x07\ud800"
    first = start(sparsity=[{"name": evil, "kept": 1, "total": 4}])
    first["data"]["tokenizer_sha256"] = evil
    folder = make_run(first, train(1), evaluated(1, 2.0, evil))
    write_scores(folder, "checkpoint_1", **{evil: score(0.5)})
    text = render(read_runs([folder]), {evil: 1}, PAGE)
    assert text.count("[31mred") == 5
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f\ud800]", text)
