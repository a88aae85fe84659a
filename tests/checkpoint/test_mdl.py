"""Conversion between folders and `.mdl`, and files that are damaged or hostile."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from modelzoo_mediswift.checkpoint.directory import load_checkpoint
from modelzoo_mediswift.checkpoint.mdl_file import MdlReader, write_mdl
from modelzoo_mediswift.cli import main as mediswift
from modelzoo_mediswift.cli.run import main as run
from modelzoo_mediswift.errors import UserError

FFN = "model.transformer_decoder.layers.0.ffn.ffn.0.linear_layer.weight"
STATIC = "{algorithm: static, sparsity: 0.75}"
FIVE_STEPS: dict[Path, bytes] = {}  # trained once
SET = "{algorithm: set, sparsity: 0.75, update: {freq: 3}}"


def losses(model_dir: str) -> dict[int, float]:
    lines = (Path(model_dir) / "log.jsonl").read_text().splitlines()
    return {e["step"]: e["loss"] for e in map(json.loads, lines) if e["event"] == "train"}


def write_params(sparsity: str = STATIC, model_dir: str = "run") -> None:
    text = Path("sparse.yaml").read_text().replace("dropout_rate: 0.1", "dropout_rate: 0.0")
    text = text.replace(STATIC, sparsity).replace("model_dir: run", f"model_dir: {model_dir}")
    Path(f"{model_dir}.yaml").write_text(text)


def convert(*arguments: str) -> int:
    return mediswift.main(["convert", *arguments])


@pytest.fixture
def mdl(run_files) -> Path:
    """A .mdl of 5 steps at 75 % sparsity, beside the folder that it was made of."""
    write_params()
    if not FIVE_STEPS:
        assert run(["CPU", "-p", "run.yaml", "--max_steps", "5"]) == 0
        assert convert("run/checkpoint_5", "five.mdl") == 0
        for path in (Path("five.mdl"), *Path("run/checkpoint_5").iterdir()):
            FIVE_STEPS[path] = path.read_bytes()
    for path, content in FIVE_STEPS.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return Path("five.mdl")


@pytest.mark.parametrize("sparsity", [STATIC, SET])
def test_there_and_back_nothing_changes_but_the_random_generators(run_files, sparsity):
    write_params(sparsity)
    assert run(["CPU", "-p", "run.yaml"]) == 0
    assert convert("run/checkpoint_10", "ten.mdl") == 0
    assert convert("ten.mdl", "back") == 0
    before = load_checkpoint(Path("run/checkpoint_10"))
    after = load_checkpoint(Path("back/checkpoint_10"))
    assert (after.step, after.loader, after.data) == (before.step, before.loader, before.data)
    assert sorted(after.model) == sorted(before.model)
    assert all(after.model[name].equal(before.model[name]) for name in before.model)
    kept = {n: t for n, t in before.training.items() if n.startswith("optimizer.")}
    assert len(kept) == 3 * (len(before.model) - 12)
    assert all(after.training[name].equal(tensor) for name, tensor in kept.items())
    assert "rng.cpu" not in after.training
    seeds = [c.training.get("rng.sparsity_seed") for c in (before, after)]
    assert seeds[0] == seeds[1]
    assert (seeds[0] is None) == (sparsity == STATIC)
    # The same training goes on, to the bit.
    write_params(sparsity, "back")
    assert run(["CPU", "-p", "back.yaml", "--resume"]) == 0
    straight = losses("run")
    assert losses("back") == {step: straight[step] for step in range(11, 21)}


def test_an_mdl_can_be_started_from_and_evaluated_without_conversion(mdl, capsys):
    write_params(model_dir="next")
    assert run(["CPU", "-p", "next.yaml", "--checkpoint_path", "five.mdl"]) == 0
    assert min(losses("next")) == 6
    assert run(["CPU", "-p", "run.yaml", "-m", "eval", "--checkpoint_path", "five.mdl"]) == 0
    of_mdl = capsys.readouterr().out.split("validation")[1]
    assert (
        run(["CPU", "-p", "run.yaml", "-m", "eval", "--checkpoint_path", "run/checkpoint_5"]) == 0
    )
    assert capsys.readouterr().out.split("validation")[1] == of_mdl


def test_the_file_holds_what_model_zoo_expects(mdl):
    with MdlReader(mdl) as reader:
        tree = reader.tree
        names = list(tree["model"])
        norm3 = names.index("model.transformer_decoder.layers.0.norm3.weight")
        assert names[norm3 - 1].endswith("layers.0.norm1.bias")
        assert names[-1] == "model.lm_head.weight"
        assert tree["model"]["model.lm_head.weight"] == tree["model"][names[0]]
        assert [len(g["params"]) for g in tree["optimizer"]["param_groups"]] == [14, 22]
        assert [g["weight_decay"] for g in tree["optimizer"]["param_groups"]] == [0.1, 0.0]
        # After 5 steps, of which 4 warmed up: one step down the cosine.
        schedule = tree["schedulers"][0]
        assert int(reader.read(schedule["last_epoch"])) == 5
        assert [int(reader.read(s["last_epoch"])) for s in schedule["_schedulers"]] == [5, 1]
        rate = float(reader.read(tree["optimizer"]["param_groups"][0]["lr"]))
        assert rate == pytest.approx(0.001 + 0.009 * (1 + np.cos(np.pi / 16)) / 2, rel=1e-6)
        power = tree["optimizer"]["state"][0]["beta1_power"]
        assert float(reader.read(power)) == pytest.approx(0.9**6)
        assert tree["__metadata__"][-1]["version"] == "2.10.0"


def change(path: Path, key: str, value: object) -> None:
    """Set an attribute of the file; None deletes it."""
    with h5py.File(path, "a") as file:
        if value is None:
            del file.attrs[key]
        else:
            file.attrs[key] = value


def set_leaf(path: Path, name: str, **meta: object) -> None:
    with h5py.File(path, "a") as file:
        about = json.loads(file.attrs[f"{name}.__metadata__"])
        about[f"{name}.__metadata__"] |= meta
        file.attrs[f"{name}.__metadata__"] = json.dumps(about)


def replace_data(path: Path, name: str, data: object) -> None:
    with h5py.File(path, "a") as file:
        del file[name]
        if data is not None:
            file[name] = data


def drop_masks(path: Path) -> None:
    with h5py.File(path, "a") as file:
        head, text = json.loads(file.attrs["__spec__"])
        spec = json.loads(text)
        model = spec[1]["children_spec"][0]
        names = json.loads(model["context"])
        kept = [i for i, name in enumerate(names) if not name.endswith("_mask")]
        model["context"] = json.dumps([names[i] for i in kept])
        model["children_spec"] = [model["children_spec"][i] for i in kept]
        file.attrs["__spec__"] = json.dumps([head, json.dumps(spec)])


LEAF = f"model.{FFN}"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda p: change(p, "__SUCCESS__", None), "partially written"),
        (lambda p: change(p, "__version__", 0.4), "format 0.4, this version reads 0.5"),
        (lambda p: change(p, "__spec__", None), "not a checkpoint of cerebras-pytorch"),
        (lambda p: change(p, "__spec__", "[null, 3]"), "damaged: its __spec__"),
        (lambda p: change(p, f"{LEAF}.__metadata__", None), "damaged: its __spec__"),
        (
            lambda p: change(p, f"{LEAF}.__metadata__", f'{{"{LEAF}.__metadata__": 3}}'),
            "damaged: its __spec__",
        ),
        (lambda p: set_leaf(p, LEAF, __TYPE__="ObjectSerializer"), f"{LEAF} is pickled"),
        (lambda p: set_leaf(p, LEAF, __TYPE__="DeferredTorchTensor"), "which is not known here"),
        (lambda p: set_leaf(p, LEAF, shapes=[[64, 64]]), "(64, 64) there, (128, 32) in its conf"),
        (lambda p: set_leaf(p, LEAF, dtypes=["torch.complex64"]), "has the type complex64"),
        (lambda p: replace_data(p, LEAF, np.zeros((2, 2), "f4")), "is float32 (2, 2)"),
        (lambda p: replace_data(p, LEAF, None), "has no data in this file"),
        (
            lambda p: replace_data(p, LEAF, h5py.ExternalLink("other.h5", "/x")),
            "has no data in this file",
        ),
        (lambda p: set_leaf(p, "model.model.lm_head.weight", key=LEAF), "to which it is tied here"),
        (drop_masks, f"lacks {'model.transformer_decoder'}"),
        (lambda p: set_leaf(p, "optimizer.state.3.exp_avg", shapes=[[7]]), "float32 (7,) and is"),
        (lambda p: p.write_bytes(p.read_bytes()[:5000]), "not an HDF5 file, or a damaged one"),
        (lambda p: p.write_bytes(b"PK\x03\x04"), "not an HDF5 file"),
        (lambda p: p.unlink(), "no such file"),
    ],
)
def test_damaged_and_hostile_files_get_one_line(mdl, capsys, damage, message):
    damage(mdl)
    capsys.readouterr()
    assert convert("five.mdl", "out") == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("error: five.mdl: ")
    assert error.count("\n") == 1
    assert not Path("out").exists()


def test_a_tree_that_cannot_be_written_leaves_nothing(tmp_path):
    tree = {"whole": torch.ones(3), "not": torch.ones(3, dtype=torch.complex64)}
    with pytest.raises(UserError, match="not: a tensor of type complex64 has no place"):
        write_mdl(tree, tmp_path / "some.mdl")
    assert not list(tmp_path.iterdir())


def test_a_refused_file_is_not_left_open(mdl):
    change(mdl, "__SUCCESS__", None)
    with pytest.raises(UserError) as caught:
        MdlReader(mdl)
    with h5py.File(mdl, "r+"):  # HDF5 refuses to write to a file that is open for reading
        assert "partially written" in str(caught.value)


def test_a_file_of_another_model_is_refused_by_name(mdl, capsys):
    write_params(model_dir="other")
    text = Path("other.yaml").read_text()
    Path("other.yaml").write_text(text.replace("num_hidden_layers: 2", "num_hidden_layers: 3"))
    assert convert("five.mdl", "out", "--params", "other.yaml") == 2
    assert "lacks model.transformer_decoder.layers.2." in capsys.readouterr().err


def test_targets_that_exist_or_name_another_step_are_refused(mdl, capsys):
    assert convert("five.mdl", "run") == 2
    assert "run/checkpoint_5: exists already" in capsys.readouterr().err
    assert convert("run/checkpoint_5", "five.mdl") == 2
    assert "five.mdl: exists already" in capsys.readouterr().err
    assert convert("five.mdl", "out/checkpoint_6") == 2
    assert "is of step 5: name out/checkpoint_5" in capsys.readouterr().err


def test_weights_alone_convert_too(mdl, tmp_path):
    checkpoint = load_checkpoint(Path("run/checkpoint_5"))
    from modelzoo_mediswift.checkpoint.mdl import to_mdl

    checkpoint.training = {}
    to_mdl(checkpoint, tmp_path / "weights.mdl", 0.0)
    back = load_checkpoint(tmp_path / "weights.mdl")
    assert back.training.keys() <= {"rng.sparsity_seed"}
    assert back.model[FFN].equal(checkpoint.model[FFN])
    assert torch.equal(back.model[FFN + "_mask"], checkpoint.model[FFN + "_mask"])


def test_a_soft_prompt_has_another_name_there(run_files):
    write_params("0.0")
    text = Path("run.yaml").read_text().replace("    sparsity: 0.0\n", "")
    text = text.replace("name: gpt3", "name: mediswift\n      num_virtual_tokens: 3")
    Path("run.yaml").write_text(text)
    assert run(["CPU", "-p", "run.yaml", "--max_steps", "5"]) == 0
    assert convert("run/checkpoint_5", "five.mdl") == 0
    with MdlReader(Path("five.mdl")) as reader:
        assert "model.prompt_embedding.weight" in reader.tree["model"]
        assert all(name.startswith("model.") for name in reader.tree["model"])
    before, after = load_checkpoint(Path("run/checkpoint_5")), load_checkpoint(Path("five.mdl"))
    name = "prompt_embedding.weight"
    assert after.model[name].equal(before.model[name])
    moment = f"optimizer.{name}.exp_avg"
    assert after.training[moment].equal(before.training[moment])
