from pathlib import Path

import h5py
import numpy as np

from modelzoo_mediswift.build_data import validation_passes
from modelzoo_mediswift.config.load import parse_config

CONFIG = """\
trainer:
  init:
    model: {name: gpt3, vocab_size: 8, max_position_embeddings: 4, hidden_size: 8, num_heads: 1}
  validate_all:
    val_dataloaders: [LOADERS]
"""


def test_every_validation_set_has_a_name_of_its_own(tmp_path: Path) -> None:
    """The folder's, then its path; then a number tells sets apart, so that none is lost."""
    folder = tmp_path / "validation"
    folder.mkdir()
    with h5py.File(folder / "a.h5", "w") as file:
        file["data"] = np.ones((2, 3, 4), np.int32)
    loader = f"{{data_processor: GptHDF5MapDataProcessor, data_dir: {folder}, batch_size: 1}}"
    config = parse_config(CONFIG.replace("LOADERS", ", ".join([loader] * 4)))
    assert config.validate_all is not None
    passes = validation_passes(config.validate_all.val_dataloaders, config.init)
    assert list(passes) == ["validation", str(folder), f"{folder} (3)", f"{folder} (4)"]
