from pathlib import Path

import pytest
import yaml

from modelzoo_mediswift.cli.main import main
from modelzoo_mediswift.config.load import load_config
from modelzoo_mediswift.plan.parameters import count_parameters

PARAMS = Path(__file__).parents[2] / "params"


def erk(capsys, *arguments: str) -> list[dict]:
    assert main(["erk", *arguments]) == 0
    return yaml.safe_load(capsys.readouterr().out)["sparsity"]


def test_the_printed_blocks_are_a_file_with_the_same_number_of_weights(capsys, tmp_path):
    path = PARAMS / "tiny_s75.yaml"
    blocks = erk(capsys, str(path))
    assert [block["sparsity"] for block in blocks] == [0.666667, 0.791667]
    assert blocks[0]["param_filter"][0] == (
        "model.transformer_decoder.layers.*.self_attn.proj_q_dense_layer.weight"
    )
    document = yaml.safe_load(path.read_text())
    document["trainer"]["init"]["sparsity"] = blocks
    (tmp_path / "erk.yaml").write_text(yaml.safe_dump(document))
    before, after = load_config(path).init, load_config(tmp_path / "erk.yaml").init
    uniform, layerwise = (count_parameters(i.model, i.sparsity) for i in (before, after))
    assert abs(uniform.paper_nonzero - layerwise.paper_nonzero) < 24  # rounded down per matrix


def test_other_keys_stay_and_a_dense_matrix_is_in_no_block(capsys):
    blocks = erk(capsys, str(PARAMS / "sparsity" / "set.yaml"), "--sparsity", "0.2")
    assert [block["sparsity"] for block in blocks] == [0.3]
    assert blocks[0]["algorithm"] == "set"
    assert blocks[0]["update"] == {"freq": 20, "start": 0, "stop": 225}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tiny_s75.yaml", "--sparsity", "1.5"], "--sparsity: expected a number in [0, 1), got"),
        (["med_dense.yaml"], "has no trainer.init.sparsity to distribute"),
        (["sparsity/gmp.yaml"], "ERK gives each matrix one level"),
        (["sparsity/gmp.yaml", "--sparsity", "0.5"], "ERK gives each matrix one level"),
    ],
)
def test_mistakes_are_named(capsys, arguments, message):
    assert main(["erk", str(PARAMS / arguments[0]), *arguments[1:]]) == 2
    assert message in capsys.readouterr().err


def test_levels_that_change_need_a_constant_one(capsys, tmp_path):
    path = tmp_path / "cycling.yaml"
    text = (PARAMS / "sparsity" / "set.yaml").read_text()
    path.write_text(text.replace("sparsity: 0.75", "sparsity: [0.5, 0.75]"))
    assert main(["erk", str(path)]) == 2
    assert "changes over training; give a constant one with --sparsity" in capsys.readouterr().err
    assert erk(capsys, str(path), "--sparsity", "0.6")
