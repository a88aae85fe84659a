import re
from html.parser import HTMLParser

import pytest
from lxml import etree
from run_records import evaluated, finetune_start, score, start, train, whole_run

from modelzoo_mediswift.errors import UserError
from modelzoo_mediswift.report.content import make_document
from modelzoo_mediswift.report.curves import MAX_POINTS, thinned
from modelzoo_mediswift.report.document import Document, Figure, Folded, Section, Table
from modelzoo_mediswift.report.folder import write_report
from modelzoo_mediswift.report.html_page import to_html
from modelzoo_mediswift.report.markdown import to_markdown
from modelzoo_mediswift.report.run import read_runs

VOID = {"meta", "br", "hr", "link", "img", "input"}


class Page(HTMLParser):
    """Checks that tags are closed in order; collects what tests ask for."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict]] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)

    def having(self, attribute):
        return [attrs[attribute] for _, attrs in self.tags if attribute in attrs]


def page_of(folders, corpus=None) -> str:
    return to_html(make_document(read_runs(folders), corpus))


@pytest.fixture
def demo_page(demo) -> str:
    return page_of(demo, {"in": 12345, "dropped": {"title_only": 1200}, "all": False})


def test_page_is_whole_and_loads_nothing(demo_page):
    page = Page(demo_page)
    names = {tag for tag, _ in page.tags}
    assert not names & {"script", "link", "img", "iframe", "object", "image"}
    assert not page.having("src")
    assert all(target.startswith("#") for target in page.having("href"))
    assert "http://" not in demo_page
    assert "https://" not in demo_page
    assert not re.search(r"url\((?!#)", demo_page)


def test_figures_stand_side_by_side_and_print_whole(demo_page):
    groups = re.findall(r'<div class="figures">\n(.*?)\n</div>', demo_page, re.DOTALL)
    assert sum(group.count("<figure>") for group in groups) == demo_page.count("<figure>")
    assert max(group.count("<figure>") for group in groups) > 1
    printed = demo_page.partition("@media print {")[2].partition("</style>")[0]
    assert "break-inside: avoid" in printed
    assert "overflow: visible" in printed


def test_ids_are_unique_and_every_reference_has_its_target(demo_page):
    page = Page(demo_page)
    ids = page.having("id")
    assert len(ids) == len(set(ids))
    targets = [target.removeprefix("#") for target in page.having("href")]
    targets += re.findall(r"url\(#([^)]+)\)", demo_page)
    for names in page.having("aria-labelledby") + page.having("aria-describedby"):
        targets += names.split()
    assert set(targets) <= set(ids)


def test_figures_say_what_they_show(demo_page):
    figures = re.findall(r"<figure>.*?</figure>", demo_page, flags=re.DOTALL)
    assert len(figures) == 7  # loss, learning rate and speed of either stage; size and accuracy
    for figure in figures:
        drawing = figure[figure.rindex("<svg ") : figure.rindex("</svg>") + len("</svg>")]
        svg = etree.fromstring(drawing)
        assert svg.get("role") == "img"
        assert svg.find("desc").text.strip()
    assert "pretrain, training: 8.250 at step 10, 3.500 at step 300" in figures[0]


def test_tables_have_headers_for_rows_and_columns(demo_page):
    for table in re.findall(r"<table>.*?</table>", demo_page, flags=re.DOTALL):
        root = etree.fromstring(table.replace("&nbsp;", " "))
        columns = root.findall("thead/tr/*")
        assert root.findtext("caption")
        assert all(cell.get("scope") == "col" for cell in columns if cell.tag == "th")
        for row in root.findall("tbody/tr"):
            assert row[0].tag == "th"
            assert row[0].get("scope") == "row"
            assert len(row) == len(columns)


def test_what_the_page_must_tell(demo_page):
    cells = [text.replace("\xa0", " ") for text in Page(demo_page).text]
    for expected in (
        "9.885e12",  # FLOPs spent
        "1.450e12 (14.7 %)",  # of that, matrices: 6 * 196,608 * 1,228,800
        "69.4 %",
        "model.transformer_decoder.layers.*.ffn.ffn.0.linear_layer.weight",
        "build/demo/pretrain/checkpoint_300, masks dropped",
        "589,824",
        "5 min 00 s",  # 1,228,800 tokens at 4,096 a second
        "74.0 to 87.0 %",
        '55.0 % ("yes")',
        "ab" * 32,
        "2.13.0",
        "12,345",
        "dropped: title_only",
        "false",
    ):
        assert expected in cells, expected
    assert any("seed: 1" in text for text in cells)  # the configuration


def test_same_input_gives_the_same_bytes(demo, tmp_path):
    outputs = []
    for name in ("one", "two"):
        page = write_report(make_document(read_runs(demo), None), tmp_path / name)
        outputs.append((page.read_bytes(), page.with_name("report.md").read_bytes()))
    assert outputs[0] == outputs[1]
    assert sorted(p.name for p in page.parent.iterdir()) == ["report.html", "report.md"]


EVIL = (
    "</td></pre><script>alert(1)</script><img src=x onerror=alert(1)>\"' & $\\frac{ \x00\ud800 |`*"
)


@pytest.fixture
def hostile(make_run, write_scores):
    """A run with hostile text in every place that takes text."""
    first = finetune_start(device=EVIL, seed=EVIL, versions={EVIL: EVIL}, config=EVIL + "\n```\n")
    first |= {"name": EVIL, "started_from": f"{EVIL}/checkpoint_1"}
    first["sparsity"] = [{"name": EVIL, "kept": 1, "total": 4}]
    first["data"] |= {
        "tokenizer_sha256": EVIL,
        "created_by": EVIL,
        "sources": {EVIL: EVIL, "task": EVIL},
        "files": [{"name": EVIL, "sha256": EVIL, "n_examples": 1}],
    }
    lines = (first, train(10, 2.0), train(20, 1.0), evaluated(20, 1.5, EVIL))
    folder = make_run(*lines, name="<b>run $x_1$")
    evil = {**score(0.5), "majority_label": EVIL}
    write_scores(folder, "checkpoint_20", **{EVIL: evil})
    path = write_scores(folder, "checkpoint_30", likelihood=score(0.5))
    path.write_text(path.read_text().replace("pubmedqa", "<script>"))
    (folder / "evaluations" / "<script>.json").write_text("{")
    return folder


def test_page_escapes_everything_from_files(hostile):
    text = page_of([hostile], {EVIL: EVIL, "n": {EVIL: 3}})
    page = Page(text)
    assert not {tag for tag, _ in page.tags} & {"script", "img", "b"}
    assert not any(name.startswith("on") for _, attrs in page.tags for name in attrs)
    assert text.encode("utf-8").count(b"\x00") == 0
    assert any("<script>alert(1)</script>" in data for data in page.text)  # shown, not run


def test_markdown_keeps_hostile_text_in_its_cell(hostile):
    text = to_markdown(make_document(read_runs([hostile]), {EVIL: EVIL}))
    text.encode("utf-8")
    tables = re.sub(r"(?ms)^(`{3,})$.*?^\1$", "", text)  # without files and configuration
    assert "<" not in tables
    for table in re.findall(r"(?m)(?:^\|.*\n?)+", tables):
        widths = {len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()}
        assert len(widths) == 1, table


def test_configuration_with_backticks_stays_in_its_block():
    document = Document("t", "i", (Section("s", (Folded("c", "a\n````\nb"),)),))
    assert "\n`````\na\n````\nb\n`````\n" in to_markdown(document)


def test_runs_of_one_stage_share_a_plot(make_run):
    folders = [make_run(*whole_run(start(), 300, 8.0, 3.0), name=name) for name in ("a", "b")]
    document = make_document(read_runs(folders), None)
    (loss,) = (
        block
        for section in document.sections
        for block in section.blocks
        if isinstance(block, Figure) and block.title == "Loss"
    )
    assert [(s.name, s.colour, s.dashed) for s in loss.series] == [
        ("a", 0, False),
        ("a", 0, True),
        ("b", 1, False),
        ("b", 1, True),
    ]
    assert loss.x_label == "million tokens"
    assert loss.series[0].x[0] == 10 * 4096 / 1e6
    assert loss.series[1].x[-1] == 300 * 4096 / 1e6


def test_long_curves_are_thinned_to_means():
    points = [(float(i), 2.0 * i) for i in range(1, 2 * MAX_POINTS + 2)]
    means = thinned(points)
    assert len(means) == (2 * MAX_POINTS + 1 + 2) // 3
    assert means[0] == (2.0, 4.0)  # of 1, 2, 3
    assert thinned(points[:MAX_POINTS]) == points[:MAX_POINTS]


def test_early_losses_of_a_long_run_do_not_flatten_the_plot(make_run):
    lines = [train(step, 3.0 + (100.0 if step < 20 else step / 1e4)) for step in range(1, 1001)]
    document = make_document(read_runs([make_run(start(), *lines)]), None)
    loss = next(b for s in document.sections for b in s.blocks if isinstance(b, Figure))
    assert 3.0 < loss.top < 3.2
    assert "above the plot" in loss.caption


def test_run_that_has_hardly_begun_makes_a_page(make_run):
    folders = [
        make_run({"event": "start", "step": 0}),
        make_run(start(), train(10, None), name="b"),
    ]
    text = page_of(folders)
    Page(text)
    assert ">0<" in text  # steps


def test_what_could_not_be_read_is_said(make_run):
    text = page_of([make_run(start(), train(1), '{"event"')])
    assert "pretrain: log.jsonl: line 3 cut short or damaged, and left out" in text


def test_rows_that_no_run_has_are_left_out(demo):
    document = make_document(read_runs(demo), None)
    tables = [b for s in document.sections for b in s.blocks if isinstance(b, Table)]
    table = next(table for table in tables if table.caption == "What was run")
    names = [row[0] for row in table.rows]
    assert "Masked weights revived" in names
    assert "Model-FLOPs utilisation" not in names


def test_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file: cannot write the report there"):
        write_report(Document("t", "i", ()), tmp_path / "file")


def test_labels_of_a_fine_tuning_and_who_gave_them(make_run) -> None:
    note = {"checkpoint": "runs/pqaa/checkpoint_8", "questions": 40, "kept": 12}
    data = {"counts": {"labels": {"yes": 12}}, "sources": {"labelling": note}}
    run = make_run(*whole_run(start(name="pqau", data=data), 300, 8.25, 3.5))
    page = to_markdown(make_document(read_runs([run]), None))
    assert "| Labels | yes 12 (all the same) |" in page
    assert (
        "| Labelled by | runs/pqaa/checkpoint_8: 12 of 40 questions, confidence 0 at least |"
        in page
    )
