"""Against transformers: the folder is loaded without code of ours and must compute the same."""

import json
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2Config, GPT2LMHeadModel
from transformers.utils import logging

from data_preprocessing.bpe import save_tokenizer, train_tokenizer
from modelzoo_mediswift.build_model import build_model
from modelzoo_mediswift.checkpoint.densify import load_dense
from modelzoo_mediswift.checkpoint.directory import (
    Checkpoint,
    load_checkpoint,
    save_checkpoint,
)
from modelzoo_mediswift.checkpoint.huggingface import read_folder, to_gpt2
from modelzoo_mediswift.cli.main import main
from modelzoo_mediswift.config.load import parse_config
from modelzoo_mediswift.errors import UserError
from modelzoo_mediswift.model.gpt3 import GPT3
from modelzoo_mediswift.model.tensors import unique_tensors
from modelzoo_mediswift.sparsity.filters import SparsityRule
from modelzoo_mediswift.sparsity.masking import Masking
from modelzoo_mediswift.whole_files import file_sha256

logging.disable_progress_bar()

VOCAB, N_VIRTUAL = 320, 3  # the tokenizer has fewer entries than the model
CONFIG = """\
trainer:
  init:
    model:
      name: mediswift
      num_virtual_tokens: {virtual}
      vocab_size: 320
      max_position_embeddings: 40
      hidden_size: 32
      num_hidden_layers: 2
      num_heads: 4
      filter_size: 96
      initializer_range: 0.3
"""
TEXTS = (
    "IL-6 &amp; TNF-α rose (p < 0.05) in 3/4 of  mice.\n\tDon't they?",
    "<|endoftext|> is read as characters [1].",
    "ünïcödé 漢字 \u00a0 and it's 5% ... e.g. this",
    "",
)


def saved(folder: Path, virtual: int) -> tuple[Path, Path, GPT3]:
    """A sparse checkpoint with moved biases, its tokenizer and its model."""
    tokenizer = train_tokenizer(TEXTS * 3, 290, progress=False)
    save_tokenizer(tokenizer, folder / "tokenizer.json")
    assert tokenizer.get_vocab_size() < VOCAB
    text = CONFIG.format(virtual=virtual)
    model = build_model(parse_config(text, "x").init.model, seed=3).eval()
    Masking(model, [SparsityRule(0.75, param_filter=("*linear_layer.weight",))], seed=0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias") or "norm" in name:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.3)
    tensors = {name: tensor.detach().clone() for name, tensor in unique_tensors(model).items()}
    data = {"tokenizer_sha256": file_sha256(folder / "tokenizer.json"), "n_tokens": 12345}
    data |= {"tokens_by_source": {"pmc_fulltext": 12000}}
    path = save_checkpoint(
        Checkpoint(7, tensors, data=data, config=text, versions={"torch": "2"}), folder / "run"
    )
    return path, folder / "tokenizer.json", model


@pytest.fixture(scope="module", params=[0, N_VIRTUAL], ids=["plain", "soft prompt"])
def exported(request, tmp_path_factory) -> tuple[Path, Path, Path, GPT3]:
    folder = tmp_path_factory.mktemp("export")
    path, tokenizer, model = saved(folder, request.param)
    out = folder / "hf"
    assert main(["export", str(path), str(out), "--tokenizer", str(tokenizer)]) == 0
    return path, tokenizer, out, model


def test_logits_agree(exported):
    *_, out, ours = exported
    theirs = AutoModelForCausalLM.from_pretrained(out).eval()
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, VOCAB + ours.num_virtual_tokens, (3, 40), generator=generator)
    with torch.no_grad():
        expected, found = ours(ids), theirs(ids).logits
    assert expected.std() > 0.1
    assert found.shape[-1] == VOCAB + ours.num_virtual_tokens
    assert (found[..., :VOCAB] - expected).abs().max() <= 1e-5


def test_virtual_tokens_are_never_the_most_likely(exported):
    *_, out, ours = exported
    if not ours.num_virtual_tokens:
        pytest.skip("has none")
    theirs = AutoModelForCausalLM.from_pretrained(out).eval()
    hidden = torch.randn(2000, 32, generator=torch.Generator().manual_seed(0)) * 5
    with torch.no_grad():
        logits = theirs.lm_head(hidden)
    assert (logits.argmax(-1) < VOCAB).all()
    assert torch.allclose(logits[:, VOCAB], logits[:, :VOCAB].mean(-1), atol=1e-4)
    sampled = theirs.generate(
        torch.tensor([[0, VOCAB, VOCAB + 1]]),
        do_sample=True,
        temperature=50.0,
        max_new_tokens=30,
        num_return_sequences=40,
    )
    assert (sampled[:, 3:] < VOCAB).all()


def test_the_tokenizer_encodes_and_decodes_the_same(exported):
    _, tokenizer, out, ours = exported
    theirs = AutoTokenizer.from_pretrained(out)
    own = Tokenizer.from_file(str(tokenizer))
    own.encode_special_tokens = True
    for text in TEXTS:
        ids = own.encode(text, add_special_tokens=False).ids
        assert theirs(text)["input_ids"] == ids
        assert theirs.decode(ids) == own.decode(ids)
    assert (theirs.bos_token_id, theirs.eos_token_id, theirs.pad_token_id) == (0, 0, 0)
    if ours.num_virtual_tokens:
        parts = theirs("IL-6 rose. <|prompt_1|><|prompt_2|><|prompt_3|>they")["input_ids"]
        source, target = (own.encode(text).ids for text in ("IL-6 rose. ", "they"))
        assert parts == [*source, VOCAB, VOCAB + 1, VOCAB + 2, *target]


def test_an_exported_model_imported_again_is_the_same(exported, tmp_path):
    path, tokenizer, out, model = exported
    assert main(["import", str(out), "-o", str(tmp_path)]) == 0
    before, after = load_checkpoint(path), load_checkpoint(tmp_path / "checkpoint_7")
    weights = {name for name in before.model if not name.endswith("_mask")}
    assert set(after.model) == weights
    assert all(torch.equal(before.model[name], after.model[name]) for name in weights)
    assert (after.config, after.data, after.step) == (before.config, before.data, 7)
    assert (tmp_path / "tokenizer.json").read_bytes() == tokenizer.read_bytes()
    dense = build_model(parse_config(after.config, "x").init.model, seed=0)
    load_dense(dense, after.model, tmp_path)
    ids = torch.arange(20).unsqueeze(0)
    with torch.no_grad():
        assert torch.equal(dense.eval()(ids), model(ids))
    again = ["export", str(tmp_path / "checkpoint_7"), str(tmp_path / "hf"), "--tokenizer"]
    assert main([*again, str(tmp_path / "tokenizer.json")]) == 0
    assert file_sha256(tmp_path / "hf/model.safetensors") == file_sha256(out / "model.safetensors")


def test_the_card_states_facts(exported):
    *_, out, ours = exported
    card = (out / "README.md").read_text()
    assert "n tokens | 12,345" in card
    assert "tokens of pmc_fulltext | 12,000" in card
    assert "9,216 of 12,288 weights in 4 matrices (75.0%)" in card
    assert "## Ethical considerations" in card
    assert "## Intended use" in card
    assert "None of this checkpoint were found beside it." in card
    assert ("<|prompt_3|>" in card) == bool(ours.num_virtual_tokens)


def test_another_gpt2_with_exact_gelu_can_be_imported(tmp_path):
    config = GPT2Config(
        vocab_size=50, n_positions=16, n_embd=16, n_layer=2, n_head=2, activation_function="gelu"
    )
    theirs = GPT2LMHeadModel(config).eval()
    theirs.save_pretrained(tmp_path / "gpt2")
    assert main(["import", str(tmp_path / "gpt2"), "-o", str(tmp_path / "run")]) == 0
    checkpoint = load_checkpoint(tmp_path / "run" / "checkpoint_0")
    ours = build_model(parse_config(checkpoint.config, "x").init.model, seed=0).eval()
    load_dense(ours, checkpoint.model, tmp_path)
    ids = torch.arange(16).unsqueeze(0)
    with torch.no_grad():
        assert (ours(ids) - theirs(ids).logits).abs().max() <= 1e-5


def change_config(folder: Path, **changes: object) -> None:
    content = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(content | changes))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: change_config(f, activation_function="gelu_new"), "computes 'gelu'"),
        (lambda f: change_config(f, model_type="llama"), "model_type is 'llama'"),
        (lambda f: (f / "config.json").write_text("{"), "not JSON"),
        (lambda f: (f / "config.json").unlink(), "cannot be read"),
        (lambda f: (f / "model.safetensors").write_bytes(b"x" * 30), "cannot be read"),
        (lambda f: (f / "mediswift.json").write_text('{"step": "x"}'), "step is 'x'"),
        (lambda f: (f / "mediswift.json").unlink(), "lm_head differs from the word embeddings"),
        (lambda f: (f / "tokenizer.json").write_text("[]"), "not a tokenizer.json"),
    ],
)
def test_what_cannot_be_imported_is_named(tmp_path, capsys, damage, message):
    path, tokenizer, _ = saved(tmp_path, N_VIRTUAL)
    folder = tmp_path / "hf"
    assert main(["export", str(path), str(folder), "--tokenizer", str(tokenizer)]) == 0
    damage(folder)
    assert main(["import", str(folder), "-o", str(tmp_path / "new")]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 1
    assert message in errors[0]
    assert not (tmp_path / "new" / "checkpoint_7").exists()


def test_what_cannot_be_exported_is_named(tmp_path, capsys):
    path, tokenizer, _ = saved(tmp_path, N_VIRTUAL)
    command = ["export", str(path), str(tmp_path / "hf"), "--tokenizer"]
    other = tmp_path / "other.json"
    other.write_text(tokenizer.read_text() + "\n")
    assert main([*command, str(other)]) == 2
    assert "not the tokenizer that" in capsys.readouterr().err
    meta = (path / "meta.json").read_text()
    (path / "meta.json").write_text(meta.replace("num_virtual_tokens: ", "num_virtual_tokens: 1"))
    assert main([*command, str(tokenizer)]) == 2
    assert "does not fit the model: prompt_embedding.weight" in capsys.readouterr().err
    assert not (tmp_path / "hf").exists()
    (path / "meta.json").write_text(meta)
    (tmp_path / "hf").mkdir()
    assert main([*command, str(tokenizer)]) == 2
    assert "exists already" in capsys.readouterr().err


def test_masked_weights_must_be_zero():
    tensors = {"a.weight": torch.ones(2), "a.weight_mask": torch.tensor([True, False])}
    with pytest.raises(UserError, match=r"x: a\.weight has masked weights that are not zero"):
        to_gpt2(tensors, Path("x"))


def test_a_folder_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        read_folder(tmp_path / "none")


def test_the_card_holds_scores_and_the_run_record(tmp_path):
    path, tokenizer, _ = saved(tmp_path, N_VIRTUAL)
    (path.parent / "evaluations").mkdir()
    hoc = {"num_examples": 315, "micro_f1": 0.625, "example_based_f1": 0.5}
    content = {"task": "hoc", "split": "test", "checkpoint": str(path)}
    (path.parent / "evaluations" / "a.json").write_text(
        json.dumps({**content, "scores": {"constrained": hoc}})
    )
    session = {"wall_seconds": 10.5, "tokens": 2000, "flops": 1.5e9, "energy_joules": {"NVML": 7.0}}
    record = {"seed": 3, "masks_sha256": "ab", "revived_weights": 9216}
    record["started_from"] = str(tmp_path / "sparse" / "checkpoint_9")
    before = {
        "name": "sparse",
        "data": {"n_tokens": 77},
        "sparsity": [{"name": "a", "kept": 1, "total": 4}],
        "started_from": record["started_from"],  # no run starts from itself, but a file may say so
    }
    (tmp_path / "sparse").mkdir()
    (tmp_path / "sparse" / "run_record.json").write_text(json.dumps(before))
    (path.parent / "run_record.json").write_text(
        json.dumps({**record, "sessions": [session, session]})
    )
    arguments = ["export", str(path), str(tmp_path / "hf"), "--tokenizer", str(tokenizer)]
    assert main(arguments) == 0
    card = (tmp_path / "hf" / "README.md").read_text()
    for line in (
        "by constrained: micro-F1 62.5%, BLUE's example-based F1 50.0% on 315 examples",
        "| seed | 3 |",
        "| masks sha256 | ab |",
        "| revived weights | 9,216 |",
        "| wall seconds | 21.0 |",
        "| tokens | 4,000 |",
        "| flops | 3e+09 |",
        "| energy, NVML | 14 J |",
        "## Before that: sparse\n",
        "| masked | 3 of 4 weights in 1 matrices (75.0%) |",
        "| n tokens | 77 |",
    ):
        assert line in card
    assert card.count("## Before that") == 1


@pytest.mark.parametrize(
    ("record", "line"),
    [
        ({"sparsity": [{"kept": 1}]}, "| masked | not told: the run's record is damaged there |"),
        ({"sparsity": 0.75}, "| masked | not told: the run's record is damaged there |"),
        ({"sparsity": [{"kept": 1, "total": 0}]}, "| masked | not told"),
        ({"data": [3], "name": 7}, "## Before that: a run"),
        ({"sessions": 3, "started_from": [1]}, "| masked | nothing |"),
        ({"sessions": [{"energy_joules": 3, "tokens": "x"}], "seed": "|"}, "| masked | nothing |"),
    ],
)
def test_a_damaged_record_does_not_stop_an_export(tmp_path, record, line):
    path, tokenizer, _ = saved(tmp_path, 0)
    (tmp_path / "before").mkdir()
    (tmp_path / "before" / "run_record.json").write_text(json.dumps(record))
    (path.parent / "run_record.json").write_text(
        json.dumps({"started_from": str(tmp_path / "before" / "checkpoint_1")})
    )
    assert main(["export", str(path), str(tmp_path / "hf"), "--tokenizer", str(tokenizer)]) == 0
    assert line in (tmp_path / "hf" / "README.md").read_text()


def test_the_card_says_where_the_prompt_stands(tmp_path):
    path, tokenizer, _ = saved(tmp_path, N_VIRTUAL)
    checkpoint = load_checkpoint(path)
    checkpoint.data["example_layout"] = {"prompt_position": "before"}
    save_checkpoint(checkpoint, path.parent)
    arguments = ["export", str(path), str(tmp_path / "hf"), "--tokenizer", str(tokenizer)]
    assert main(arguments) == 0
    card = (tmp_path / "hf" / "README.md").read_text()
    assert "before the source" in card
    assert "<|prompt_3|> SOURCE" in card


def test_a_damaged_layout_does_not_stop_an_export(tmp_path):
    path, tokenizer, _ = saved(tmp_path, N_VIRTUAL)
    checkpoint = load_checkpoint(path)
    checkpoint.data["example_layout"] = True
    save_checkpoint(checkpoint, path.parent)
    assert main(["export", str(path), str(tmp_path / "hf"), "--tokenizer", str(tokenizer)]) == 0


def test_no_exported_file_tells_where_things_lie_here(tmp_path):
    path, tokenizer, _ = saved(tmp_path, N_VIRTUAL)
    checkpoint = load_checkpoint(path)
    start = tmp_path / "sparse" / "checkpoint_9"
    checkpoint.config += (
        f"    model_dir: {path.parent}\n"
        "    optimizer: {AdamW: {betas: [0.9, 0.95], lr: 0.1, weight_decay: 0.1}}\n"
        "  fit:\n"
        f"    ckpt_path: {start}\n"
        "    train_dataloader: {data_processor: GptHDF5MapDataProcessor, batch_size: 2,"
        f" data_dir: [{tmp_path / 'pqau' / 'train'}]}}\n"
    )
    parse_config(checkpoint.config, "x")
    checkpoint.data["sources"] = {"task": "pubmedqa", "labelling": {"checkpoint": str(start)}}
    checkpoint.data["counts"] = {"truncated": 0, "labels": {"yes": 1234}}
    save_checkpoint(checkpoint, path.parent)
    record = {"started_from": str(start), "started_from_sha256": "cd" * 32, "command": [str(path)]}
    (path.parent / "run_record.json").write_text(json.dumps(record))
    out = tmp_path / "hf"
    assert main(["export", str(path), str(out), "--tokenizer", str(tokenizer)]) == 0
    told = {file.name: file.read_bytes() for file in out.iterdir()}
    assert [name for name, content in told.items() if str(tmp_path).encode() in content] == []
    for row in (
        "| started from | sparse/checkpoint_9 |",
        f"| started from sha256 | {'cd' * 32} |",
        "| source: labelling: checkpoint | sparse/checkpoint_9 |",
        "| count: labels: yes | 1,234 |",
        "    - pqau/train\n",
    ):
        assert row in told["README.md"].decode()
    assert main(["import", str(out), "-o", str(tmp_path / "imported")]) == 0
