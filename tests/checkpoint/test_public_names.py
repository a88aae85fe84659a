import pytest
import yaml

from modelzoo_mediswift.checkpoint.public_names import public, public_path, public_yaml


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/home/me/runs/xl_s75/checkpoint_200000", "xl_s75/checkpoint_200000"),
        ("/scratch/me/pubmed_1024/train", "pubmed_1024/train"),
        ("/scratch/me/runs/xl_s75", "xl_s75"),
        ("/home/me", "me"),  # nothing else is there to name it
        ("/home/me/train", "train"),
        ("/root/test", "test"),
        ("~/data/tokenizer.json", "tokenizer.json"),
        ("~me/data/tokenizer.json", "tokenizer.json"),
        ("../me/runs/a/checkpoint_1", "a/checkpoint_1"),
        ("/", "."),
        ("../..", "."),
        ("./model_dir/xl_s75", "./model_dir/xl_s75"),
        ("runs/a/checkpoint_1", "runs/a/checkpoint_1"),
        ("*proj_[qkv]_dense_layer.weight", "*proj_[qkv]_dense_layer.weight"),
        ("yes/no", "yes/no"),
        ("", ""),
    ],
)
def test_paths(path: str, name: str) -> None:
    assert public_path(path) == name


def test_values_of_any_depth_keep_everything_else() -> None:
    value = {"a": [1, None, True, {"b": "/x/y.h5"}], "c": 0.5, "d": "n/a"}
    assert public(value) == {"a": [1, None, True, {"b": "y.h5"}], "c": 0.5, "d": "n/a"}


def test_yaml_is_rewritten_only_where_it_must_be() -> None:
    text = "trainer: {init: {seed: 1, model_dir: ./x}}  # as written\n"
    assert public_yaml(text) == text
    found = public_yaml("trainer:\n  init:\n    seed: 1\n    model_dir: /home/me/x\n")
    assert yaml.safe_load(found) == {"trainer": {"init": {"seed": 1, "model_dir": "x"}}}
    assert public_yaml("") == ""
