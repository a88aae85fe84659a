"""A pre-trained checkpoint, a tokenizer of one id per word and PubMedQA files, all tiny."""

import json
from pathlib import Path

import h5py
import numpy as np
from tokenizers import Tokenizer, models, pre_tokenizers

from data_preprocessing.finetune import finetune_task
from modelzoo_mediswift.cli.run import main
from modelzoo_mediswift.whole_files import file_sha256

LABELS = ("yes", "no", "maybe")
CLUE = {"yes": "rise", "no": "fall", "maybe": "mixed"}
WORDS = (
    ["<|endoftext|>", "drug", *CLUE.values(), "?"]
    + ["question", ":", "context", "the", "answer", "to", "given", "is", "yes", "no", "maybe", "."]
    + [f"word{i}" for i in range(30)]
)
LENGTH = 40


def question(index: int, label: str | None) -> dict:
    """The context gives the answer away."""
    clue = CLUE[label or LABELS[index % 3]]
    record = {
        "QUESTION": f"drug word{index % 30} ?",
        "CONTEXTS": [f"drug {clue}", f"{clue} word{(7 * index) % 30}"],
        "LONG_ANSWER": f"drug {clue}",
    }
    return record if label is None else {**record, "final_decision": label}


def questions(start: int, count: int, labels: tuple[str, ...] | None = LABELS) -> dict[str, dict]:
    return {
        str(i): question(i, None if labels is None else labels[i % len(labels)])
        for i in range(start, start + count)
    }


def write_questions() -> None:
    """`qa/` with all three parts, `tokenizer.json` and `run/checkpoint_5`, from `run_files`."""
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="drug"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens(["<|endoftext|>"])
    tokenizer.save("tokenizer.json")
    files = {
        "pqal_fold0/train_set": questions(0, 24),
        "pqal_fold0/dev_set": questions(100, 9),
        "pqal_fold0/test_set": questions(200, 12),
        "pqaa_train_set": questions(300, 24, ("yes", "no")),
        "pqaa_dev_set": questions(400, 8, ("yes", "no")),
        "ori_pqau": questions(500, 12, None),
    }
    for name, content in files.items():
        path = Path(f"qa/{name}.json")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
    generator = np.random.default_rng(0)
    for split, count in (("train", 40), ("validation", 8)):
        tokens = generator.integers(0, len(WORDS), (count, LENGTH + 1), dtype=np.int32)
        rows = np.stack([tokens[:, :-1], np.ones((count, LENGTH), np.int32), tokens[:, 1:]], axis=1)
        Path(f"corpus/{split}").mkdir(parents=True)
        with h5py.File(f"corpus/{split}/data.h5", "w") as file:
            file["data"] = rows
            file.attrs["n_examples"] = count
        params = {"vocab_size": len(WORDS), "tokenizer_sha256": file_sha256(Path("tokenizer.json"))}
        Path(f"corpus/{split}/data_params.json").write_text(json.dumps(params))
    pretraining = (
        Path("sparse.yaml")
        .read_text()
        .replace("vocab_size: 64", f"vocab_size: {len(WORDS)}")
        .replace("max_position_embeddings: 16", f"max_position_embeddings: {LENGTH}")
        .replace("data_dir: train", "data_dir: corpus/train")
        .replace("data_dir: validation", "data_dir: corpus/validation")
    )
    Path("pretraining.yaml").write_text(pretraining)
    assert main(["CPU", "-p", "pretraining.yaml", "--max_steps", "5"]) == 0


def write_data(subset: str, out: str, num_virtual_tokens: int = 3) -> None:
    finetune_task(
        "pubmedqa", Path("qa"), Path("tokenizer.json"), Path(out),
        max_sequence_length=LENGTH, num_virtual_tokens=num_virtual_tokens, subset=subset,
    )  # fmt: skip


INIT = f"""
        backend: {{backend_type: CPU}}
        seed: 1
        model:
          name: mediswift
          num_virtual_tokens: 3
          vocab_size: {len(WORDS)}
          max_position_embeddings: {LENGTH}
          hidden_size: 32
          num_hidden_layers: 2
          num_heads: 4
          filter_size: 128
        optimizer:
          AdamW: {{betas: [0.9, 0.95], eps: 1.0e-8, weight_decay: 0.1, lr: 0.003}}
        precision: {{enabled: false, max_gradient_norm: 1.0}}
        logging: {{log_steps: 1}}
        checkpoint: {{steps: 2}}
        loop: {{num_epochs: 2, eval_frequency: 2}}"""


def stage(name: str, train: str, validation: str, callbacks: str = "", start: str = "") -> str:
    return (
        f"""
  - trainer:
      init: {"&init" + INIT if start else "{<<: *init}"}
      fit:
        train_dataloader:
          data_processor: GptHDF5MapDataProcessor
          data_dir: {train}
          batch_size: 4
          shuffle: true
        val_dataloader:
          data_processor: GptHDF5MapDataProcessor
          data_dir: {validation}
          batch_size: 4
""".replace("{<<: *init}", "\n        <<: *init").replace(
            "      fit:",
            f"""        model_dir: recipe/{name}
        callbacks:
          - LoadCheckpointStates: {{load_checkpoint_states: model}}
          - EarlyStopping: {{patience: 1}}
          - KeepNCheckpoints: {{n: 1}}
{callbacks}      fit:""",
        )
        + (f"        ckpt_path: {start}\n" if start else "")
    )


def recipe() -> str:
    pseudo = """\
          - PseudoLabels:
              {unlabelled: qa/ori_pqau.json, tokenizer: tokenizer.json, output: labelled}
"""
    return (
        "trainer:"
        + stage("pqaa", "a/train", "a/validation", "          - DensifyOnLoad: {}\n",
                "run/checkpoint_5")
        + stage("pqau", "u/train", "l/validation", pseudo)
        + stage("pqal", "l/train", "l/validation")
    )  # fmt: skip
