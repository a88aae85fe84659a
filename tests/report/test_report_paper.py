import pytest
from run_records import start, train, whole_run

from modelzoo_mediswift.report import paper
from modelzoo_mediswift.report.costs import paper_model, paper_section
from modelzoo_mediswift.report.document import Paragraph
from modelzoo_mediswift.report.run import read_runs


def formula(model: paper.Model) -> float:
    """The paper's FLOPs per token, typed here independently of the plan."""
    layers, d, heads = model.shape.layers, model.shape.width, model.shape.heads
    linear = 6 * (1 - model.sparsity) * 12 * layers * d**2
    return linear + 10 * 42_384 * d + 12 * layers * 1024 * (d + heads)


def plan_of(model: paper.Model, vocab_size: int = 42_384) -> dict:
    layers, d, heads = model.shape.layers, model.shape.width, model.shape.heads
    rest = {
        "vocabulary": 10 * vocab_size * d,
        "attention": 12 * layers * 1024 * d,
        "softmax": 12 * layers * heads * 1024,
    }
    weights = 12 * layers * d**2
    return {
        "n_params_paper": weights,
        "batch_size": 512,
        "sequence_length": 1024,
        "flops_per_token": {"linear": 6 * weights * (1 - model.sparsity), **rest},
        "flops_per_token_dense": {"linear": 6 * weights, **rest},
    }


def run_of(make_run, model, steps=200_000, **plan):
    first = start(plan=plan_of(model, **plan), total_steps=steps)
    first["data"]["max_sequence_length"] = 1024
    return read_runs([make_run(first, train(steps, 2.0))])[0]


@pytest.mark.parametrize("model", paper.MODELS, ids=lambda model: model.name)
def test_typed_values_fit_the_formula_but_for_the_misprint(model):
    computed = formula(model) * paper.TOKENS / 1e20
    if model.name == "Large, 75 %":
        assert computed == pytest.approx(1.8432, abs=5e-5)
        assert model.flops == 1.840e20
        assert "misprint" in model.note
    else:
        assert computed == pytest.approx(model.flops / 1e20, abs=5e-4)
        assert not model.note
    dense = next(m for m in paper.MODELS if m.shape == model.shape and not m.sparsity)
    assert model.ratio == pytest.approx(model.flops / dense.flops, abs=0.01)


@pytest.mark.parametrize("model", paper.MODELS, ids=lambda model: model.name)
def test_model_is_found_by_shape_and_sparsity(make_run, model):
    assert paper_model(run_of(make_run, model)) is model


def test_other_heads_make_another_model(make_run):
    model = paper.MODELS[0]
    plan = plan_of(model)
    for flops in ("flops_per_token", "flops_per_token_dense"):
        plan[flops]["softmax"] *= 2
    first = start(plan=plan, total_steps=200_000)
    assert paper_model(read_runs([make_run(first, train(200_000, 2.0))])[0]) is None


def test_miniature_is_none_of_the_papers_models(make_run):
    runs = read_runs([make_run(*whole_run(start(), 300, 8.0, 3.0))])
    assert paper_model(runs[0]) is None
    assert paper_section(runs) is None


def test_values_stand_beside_each_other(make_run):
    large = paper.MODELS[5]
    section = paper_section([run_of(make_run, large)])
    table = section.blocks[0]
    assert table.rows[1][2:] == ("training loss at the end", "2.000", "2.281")
    assert table.rows[2][2:] == ("FLOPs for the paper's tokens", "1.843e20", "1.840e20")
    assert table.rows[3][2:] == ("FLOPs in units of dense", "0.43", "0.43")
    assert Paragraph(large.note) in section.blocks


def test_what_makes_numbers_incomparable_is_said(make_run):
    section = paper_section([run_of(make_run, paper.MODELS[8], 2000, vocab_size=30_000)])
    texts = [block.text for block in section.blocks if isinstance(block, Paragraph)]
    assert texts[0] == (
        "pretrain differs from the paper: 30,000 words instead of 42,384, 1.00 % of its tokens."
    )
