"""An exported folder inside lm-evaluation-harness, on a task that lies in local files."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from test_huggingface import N_VIRTUAL, saved

from modelzoo_mediswift.cli.main import main

lm_eval = pytest.importorskip("lm_eval")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("default"),  # the harness and what it imports have their own
]

CHOICES = [" yes.", " no.", " maybe."]
TASK = """\
task: local_questions
dataset_path: json
dataset_kwargs:
  data_files: {{test: {data}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{source}}}}"
doc_to_target: "{{{{gold}}}}"
doc_to_choice: {choices}
target_delimiter: ""
metric_list:
  - metric: acc
"""


@pytest.mark.parametrize("virtual", [0, N_VIRTUAL], ids=["plain", "soft prompt"])
def test_the_harness_gives_our_log_likelihoods(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, virtual: int
) -> None:
    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    checkpoint, tokenizer_file, model = saved(tmp_path, virtual)
    folder = tmp_path / "hf"
    arguments = ["export", str(checkpoint), str(folder), "--tokenizer", str(tokenizer_file)]
    assert main(arguments) == 0
    prompt = "".join(f"<|prompt_{i + 1}|>" for i in range(virtual))
    sources = ["IL-6 rose in mice.", "Don't they?", "3/4 of mice rose (p < 0.05)."]
    lines = [{"source": f"{text} {prompt}".rstrip(), "gold": 0} for text in sources]
    (tmp_path / "test.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    task = TASK.format(data=tmp_path / "test.jsonl", choices=json.dumps(CHOICES))
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "local.yaml").write_text(task)

    samples = harness(folder, tmp_path / "tasks")
    assert len(samples) == len(lines)
    tokens = words(folder)
    for sample in samples:
        for choice, (log_likelihood, _) in zip(CHOICES, sample["filtered_resps"], strict=True):
            before = tokens(sample["doc"]["source"])
            # The harness puts the text's own tokens before those that the choice adds: with Moses
            # a full stop may be another token once something follows it.
            after = tokens(sample["doc"]["source"] + choice)[len(before) :]
            whole = [*before, *after]
            # The harness reads no end-of-text before a text; its softmax holds the virtual tokens,
            # whose logits are the mean of the words'.
            logits = model(torch.tensor([whole]))[0]
            mean = logits.mean(-1, keepdim=True).expand(-1, virtual)
            log_p = torch.log_softmax(torch.cat((logits, mean), -1), -1)
            by_hand = sum(log_p[i - 1, whole[i]].item() for i in range(len(before), len(whole)))
            assert float(log_likelihood) == pytest.approx(by_hand, abs=1e-3)


def harness(folder: Path, tasks: Path) -> list[dict[str, Any]]:
    from lm_eval.tasks import TaskManager

    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    found = lm_eval.simple_evaluate(
        model="hf",
        model_args={"pretrained": str(folder), "dtype": "float32"},
        tasks=["local_questions"],
        task_manager=TaskManager(include_path=str(tasks)),
        device="cpu",
        batch_size=2,
        bootstrap_iters=0,
        log_samples=True,
    )
    assert 0 <= found["results"]["local_questions"]["acc,none"] <= 1
    return found["samples"]["local_questions"]


def words(folder: Path) -> Any:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    return lambda text: tokenizer(text, add_special_tokens=False)["input_ids"]
