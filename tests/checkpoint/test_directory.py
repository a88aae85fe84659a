import json

import pytest
import torch

from modelzoo_mediswift.checkpoint import directory
from modelzoo_mediswift.checkpoint.directory import (
    Checkpoint,
    keep_newest,
    list_checkpoints,
    load_checkpoint,
    newest_checkpoint,
    save_checkpoint,
)
from modelzoo_mediswift.errors import UserError


def checkpoint(step: int, value: float = 1.0) -> Checkpoint:
    return Checkpoint(
        step=step,
        model={"w": torch.full((3, 2), value), "w_mask": torch.tensor([True, False])},
        training={"optimizer.w.step": torch.tensor(4.0), "rng.cpu": torch.get_rng_state()},
        loader={"samples_consumed": 12},
        data={"tokenizer_sha256": "ab"},
        config="trainer: {}\n",
        versions={"torch": "2"},
    )


def test_round_trip(tmp_path):
    path = save_checkpoint(checkpoint(7), tmp_path)
    assert path.name == "checkpoint_7"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint_7"]
    back, original = load_checkpoint(path), checkpoint(7)
    assert (back.step, back.loader, back.data, back.config, back.versions) == (
        7,
        original.loader,
        original.data,
        original.config,
        original.versions,
    )
    assert back.model["w_mask"].dtype == torch.bool
    for saved, loaded in ((original.model, back.model), (original.training, back.training)):
        assert saved.keys() == loaded.keys()
        assert all(torch.equal(t, loaded[n]) for n, t in saved.items())


def test_the_same_step_is_replaced_whole(tmp_path):
    save_checkpoint(checkpoint(7, 1.0), tmp_path)
    path = save_checkpoint(checkpoint(7, 2.0), tmp_path)
    assert load_checkpoint(path).model["w"][0, 0] == 2.0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint_7"]


def test_half_written_ones_are_not_listed(tmp_path):
    for step in (20, 3, 100):
        save_checkpoint(checkpoint(step), tmp_path)
    (tmp_path / ".checkpoint_200.writing").mkdir()
    (tmp_path / "checkpoint_300.mdl").touch()
    assert [p.name for p in list_checkpoints(tmp_path)] == [
        "checkpoint_3",
        "checkpoint_20",
        "checkpoint_100",
    ]
    assert newest_checkpoint(tmp_path).name == "checkpoint_100"
    assert newest_checkpoint(tmp_path / "none") is None
    keep_newest(tmp_path, 2)
    assert [p.name for p in list_checkpoints(tmp_path)] == ["checkpoint_20", "checkpoint_100"]


def test_one_that_is_being_deleted_is_none_any_more(tmp_path, monkeypatch):
    for step in (10, 20):
        save_checkpoint(checkpoint(step), tmp_path)

    def killed(path: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(directory.shutil, "rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        keep_newest(tmp_path, 1)
    assert [p.name for p in list_checkpoints(tmp_path)] == ["checkpoint_20"]


@pytest.mark.parametrize("name", ["model.safetensors", "training.safetensors"])
@pytest.mark.parametrize("damage", ["truncate", "flip", "remove"])
def test_damage_is_named_and_the_one_before_is_offered(tmp_path, name, damage):
    save_checkpoint(checkpoint(10), tmp_path)
    path = save_checkpoint(checkpoint(20), tmp_path)
    file = path / name
    content = bytearray(file.read_bytes())
    if damage == "truncate":
        file.write_bytes(content[:-1])
    elif damage == "flip":
        content[-1] ^= 1
        file.write_bytes(content)
    else:
        file.unlink()
    with pytest.raises(UserError) as error:
        load_checkpoint(path)
    message = str(error.value)
    assert "\n" not in message
    assert f"{path}: damaged checkpoint: {name}" in message
    assert f"the one before it is {tmp_path / 'checkpoint_10'}" in message


@pytest.mark.parametrize("text", ["", "{", "[]", "\xff", '{"sha256": 3}', "[" * 100_000])
def test_damaged_meta(tmp_path, text):
    path = save_checkpoint(checkpoint(10), tmp_path)
    (path / "meta.json").write_text(text, encoding="latin-1")
    with pytest.raises(UserError, match=r"damaged checkpoint: meta\.json"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    "change", [{"data": None}, {"loader": 3}, {"config": None}, {"step": "10"}, {"versions": []}]
)
def test_meta_of_other_types(tmp_path, change):
    path = save_checkpoint(checkpoint(10), tmp_path)
    meta = json.loads((path / "meta.json").read_text())
    (path / "meta.json").write_text(json.dumps(meta | change))
    with pytest.raises(
        UserError, match=rf"damaged checkpoint: meta\.json: {next(iter(change))} is"
    ):
        load_checkpoint(path)


def test_other_formats_and_missing_directories(tmp_path):
    path = save_checkpoint(checkpoint(10), tmp_path)
    meta = json.loads((path / "meta.json").read_text())
    (path / "meta.json").write_text(json.dumps({**meta, "format_version": 99}))
    with pytest.raises(UserError, match="checkpoint format 99"):
        load_checkpoint(path)
    (path / "meta.json").unlink()
    with pytest.raises(UserError, match=r"not a checkpoint \(meta.json is missing\)"):
        load_checkpoint(path)
    (path / "config.json").touch()
    with pytest.raises(UserError, match=r"; `mediswift import .*checkpoint_10` makes one of a Hug"):
        load_checkpoint(path)
    with pytest.raises(
        UserError, match=r"no such checkpoint directory; the newest beside it is .*"
    ):
        load_checkpoint(tmp_path / "checkpoint_11")
    with pytest.raises(UserError, match=r"no such checkpoint directory$"):
        load_checkpoint(tmp_path / "other" / "checkpoint_11")
