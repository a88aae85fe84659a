import io
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer

from data_preprocessing.bpe import load_tokenizer, save_tokenizer, train_tokenizer
from modelzoo_mediswift.build_model import build_masking, build_model
from modelzoo_mediswift.checkpoint.directory import Checkpoint, save_checkpoint
from modelzoo_mediswift.cli.generate import pieces
from modelzoo_mediswift.cli.main import main
from modelzoo_mediswift.config.load import parse_config
from modelzoo_mediswift.engine import sparse_reading
from modelzoo_mediswift.engine.sparse_reading import CompressedLinear
from modelzoo_mediswift.kernels import library
from modelzoo_mediswift.model.tensors import unique_tensors
from modelzoo_mediswift.whole_files import file_sha256

CONFIG = """\
trainer:
  init:
    model:
      name: mediswift
      num_virtual_tokens: 2
      vocab_size: 300
      max_position_embeddings: 48
      hidden_size: 32
      num_hidden_layers: 2
      num_heads: 4
      filter_size: 64
      initializer_range: 0.3
"""
TEXT = 'IL-6 rose (p < 0.05) in "3/4" of mice, didn\'t it? Yes: IL-6 rose.'


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("generate")
    save_tokenizer(train_tokenizer([TEXT] * 3, 300, progress=False), folder / "tokenizer.json")
    model = build_model(parse_config(CONFIG, "x").init.model, seed=0)
    tensors = {name: tensor.detach().clone() for name, tensor in unique_tensors(model).items()}
    data = {"tokenizer_sha256": file_sha256(folder / "tokenizer.json")}
    path = save_checkpoint(Checkpoint(1, tensors, data=data, config=CONFIG), folder / "run")
    return path, folder / "tokenizer.json"


def output(capsys, files, *arguments: str) -> str:
    path, tokenizer = files
    assert main(["generate", str(path), *arguments, "--tokenizer", str(tokenizer)]) == 0
    return capsys.readouterr().out


def test_greedy_is_what_the_model_says(capsys, files):
    tokenizer = load_tokenizer(files[1])
    model = build_model(parse_config(CONFIG, "x").init.model, seed=0).eval()
    ids = [0, *tokenizer.encode("IL-6 rose").ids, 300, 301]
    produced = []
    for _ in range(8):
        with torch.no_grad():
            token = model(torch.tensor([ids + produced]))[0, -1].argmax().item()
        if token == 0:
            break
        produced.append(token)
    out = output(capsys, files, "IL-6 rose", "--max_new_tokens", "8")
    assert out == tokenizer.decode(produced) + "\n"


@pytest.mark.skipif(not library.is_available(), reason="kernels are not compiled")
@pytest.mark.parametrize("faster", [False, True])
def test_a_sparse_checkpoint_is_read_in_the_faster_form(
    capsys, files, tmp_path, monkeypatch, faster
):
    config = parse_config(CONFIG + "    sparsity: 0.75\n", "x").init
    model = build_model(config.model, seed=0)
    build_masking(config, model, 0)
    tensors = {name: tensor.detach().clone() for name, tensor in unique_tensors(model).items()}
    path = save_checkpoint(Checkpoint(1, tensors, config=CONFIG), tmp_path / "sparse")
    calls = []
    monkeypatch.setattr(sparse_reading, "_seconds", lambda products: calls.append(products) or 1.0)
    plain = output(capsys, (path, files[1]), "IL-6", "--max_new_tokens", "12")  # none is faster
    asked: set[CompressedLinear] = set()
    forward = CompressedLinear.forward
    monkeypatch.setattr(
        CompressedLinear, "forward", lambda layer, x: asked.add(layer) or forward(layer, x)
    )
    times = iter((2.0, 1.0) if faster else (1.0, 2.0))
    monkeypatch.setattr(sparse_reading, "_seconds", lambda products: next(times))
    assert output(capsys, (path, files[1]), "IL-6", "--max_new_tokens", "12") == plain
    assert len(asked) == (12 if faster else 0)
    assert [len(products) for products in calls] == [12, 12]


def test_draws_repeat_with_their_seed(capsys, files):
    flags = ("IL-6", "--temperature", "1.5", "--max_new_tokens", "12", "--seed")
    one, again, other = (output(capsys, files, *flags, seed) for seed in ("1", "1", "2"))
    assert one == again != other
    greedy = output(capsys, files, "IL-6", "--max_new_tokens", "12")
    assert output(capsys, files, "IL-6", "--top_k", "1", "--max_new_tokens", "12") == greedy


def test_standard_input_and_long_texts(capsys, files, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO(TEXT * 20))
    path, tokenizer = files
    command = ["generate", str(path), "-", "--tokenizer", str(tokenizer), "--max_new_tokens", "5"]
    assert main(command) == 0
    assert "the text is cut: its last" in capsys.readouterr().err


@pytest.mark.parametrize("flag", ["--max_new_tokens=0", "--temperature=-1", "--temperature=inf",
                                  "--top_k=0", "--top_p=1.5", "--top_p=nan",
                                  "--seed=-1", "--seed=99999999999999999999"])  # fmt: skip
def test_senseless_settings_are_refused(capsys, files, flag):
    path, tokenizer = files
    assert main(["generate", str(path), "IL-6", "--tokenizer", str(tokenizer), flag]) == 2
    assert f"error: {flag.split('=')[0]}: expected" in capsys.readouterr().err


def test_the_window_bounds_what_is_generated(capsys, files):
    """48 positions less the end-of-text that begins each example and a soft prompt of 2."""
    path, tokenizer = files
    command = ["generate", str(path), "IL-6", "--tokenizer", str(tokenizer), "--max_new_tokens"]
    assert main([*command, "45"]) == 0
    capsys.readouterr()
    assert main([*command, "46"]) == 2
    assert capsys.readouterr().err.endswith(
        "error: --max_new_tokens: expected at most 45, which is what the model's 48 positions "
        "leave, got 46\n"
    )
    assert main([*command, "47", "--no_prompt"]) == 0


@pytest.mark.parametrize("text", ["-", "a\udcff"])
def test_what_is_not_text_is_refused(capsys, files, monkeypatch, text):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"a\xff"), encoding="utf-8"))
    path, tokenizer = files
    assert main(["generate", str(path), text, "--tokenizer", str(tokenizer)]) == 2
    assert capsys.readouterr().err.endswith(": not UTF-8\n")


def test_pieces_are_never_taken_back(files):
    tokenizer: Tokenizer = load_tokenizer(files[1])
    ids = tokenizer.encode(TEXT, add_special_tokens=False).ids
    found = list(pieces(ids, tokenizer.decode))
    assert len(found) > 8
    assert "".join(found) == tokenizer.decode(ids)


def test_perplexity(capsys, files, tmp_path):
    path, tokenizer = files
    (tmp_path / "a.txt").write_text(TEXT * 5)
    command = ["perplexity", str(path), str(tmp_path / "a.txt"), "--tokenizer", str(tokenizer)]
    assert main(command) == 0
    out = capsys.readouterr().out
    count = len(load_tokenizer(tokenizer).encode(TEXT * 5).ids)
    assert f"{count:,} tokens" in out
    (tmp_path / "a.txt").write_text(TEXT * 5, encoding="utf-8-sig")
    assert main(command) == 0
    assert capsys.readouterr().out == out
    for bad, message in (([*command, "--stride", "49"], "at most the window of 48"),
                         ([*command, "--stride", "0"], "expected an integer >= 1")):  # fmt: skip
        assert main(bad) == 2
        assert message in capsys.readouterr().err
    (tmp_path / "a.txt").write_text("\x00 ")
    assert main(command) == 2
    assert "nothing in it that makes a token" in capsys.readouterr().err
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe")
    assert main(command) == 2
    assert "not UTF-8 text" in capsys.readouterr().err
