from collections.abc import Callable
from pathlib import Path

import pytest

from modelzoo_mediswift.config.load import load_config
from modelzoo_mediswift.config.trainer import TrainerConfig
from modelzoo_mediswift.errors import UserError

# A complete file in few lines; the tests below change one of them at a time.
SMALL = """\
trainer:
  init:
    model:
      name: gpt3
      hidden_size: 64
      num_heads: 4
    optimizer:
      AdamW:
        lr: 1e-3
    loop:
      max_steps: 10
  fit:
    train_dataloader:
      data_processor: GptHDF5MapDataProcessor
      data_dir: ./data
      batch_size: 8
"""


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., TrainerConfig]:
    """Load SMALL with some text in it replaced: load(("old", "new"), ...)."""

    def load_changed(*changes: tuple[str, str]) -> TrainerConfig:
        text = SMALL
        for old, new in changes:
            assert text.count(old) == 1, f"{old!r} is not in the file exactly once"
            text = text.replace(old, new)
        path = tmp_path / "small.yaml"
        path.write_text(text)
        return load_config(path)

    return load_changed


@pytest.fixture
def complaint(load: Callable[..., TrainerConfig], tmp_path: Path) -> Callable[..., str]:
    """The message for SMALL with some text replaced, its file name cut off each line."""

    def message(*changes: tuple[str, str]) -> str:
        with pytest.raises(UserError) as caught:
            load(*changes)
        return str(caught.value).replace(f"{tmp_path / 'small.yaml'}:", "")

    return message
