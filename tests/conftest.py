from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np
import pytest
from hypothesis import settings

from modelzoo_mediswift.cerebras.environment import is_installed
from modelzoo_mediswift.cerebras.missing import is_modelzoo_installed

if TYPE_CHECKING:
    from modelzoo_mediswift.model.gpt3 import GPT3

# A loaded machine is slow now and then; that is no failure.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("cerebras") and not is_installed():
        pytest.skip("needs cerebras-pytorch, which .venv-cerebras has (make test)")
    if item.get_closest_marker("modelzoo") and not is_modelzoo_installed():
        pytest.skip("needs Cerebras Model Zoo, which is not on the package index")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real PubMed, PMC and PubMedQA files."""
    folder = os.environ.get("MEDISWIFT_REAL_DATA")
    if not folder:
        pytest.skip("no real data: set MEDISWIFT_REAL_DATA to its folder")
    return Path(folder)


@pytest.fixture
def run_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with random HDF5 data and `sparse.yaml`, a run of 20 small steps."""
    generator = np.random.default_rng(0)
    for split, count in (("train", 50), ("validation", 10)):
        tokens = generator.integers(0, 64, (count, 17), dtype=np.int32)
        rows = np.stack([tokens[:, :-1], np.ones((count, 16), np.int32), tokens[:, 1:]], axis=1)
        (tmp_path / split).mkdir()
        with h5py.File(tmp_path / split / "data.h5", "w") as file:
            file["data"] = rows
            file.attrs["n_examples"] = count
    (tmp_path / "sparse.yaml").write_text(SPARSE_RUN)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def torchrun(
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """`torchrun(processes, program, *arguments)`: what it printed, once it ended."""

    def start(processes: int, program: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [
                *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
                *("--nproc_per_node", str(processes), str(program), *arguments),
            ],
            # torchrun leaves its folder of logs behind where temporary files go.
            env={**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": str(tmp_path_factory.mktemp("t"))},
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )

    return start


@pytest.fixture(scope="session")
def decoder() -> GPT3:
    """A vocabulary of 30, 2 virtual tokens, 16 positions; initial weights so large that predictions
    differ from token to token."""
    from modelzoo_mediswift.model.gpt3 import GPT3, Initializer

    return GPT3(
        vocab_size=30,
        hidden_size=24,
        num_hidden_layers=2,
        num_heads=3,
        filter_size=96,
        max_position_embeddings=16,
        num_virtual_tokens=2,
        initializer=Initializer(0.3),
        embedding_initializer=Initializer(0.5),
    ).eval()


SPARSE_RUN = """\
trainer:
  init:
    seed: 1
    model_dir: run
    model:
      name: gpt3
      vocab_size: 64
      max_position_embeddings: 16
      hidden_size: 32
      num_hidden_layers: 2
      num_heads: 4
      filter_size: 128
      dropout_rate: 0.1
      attention_dropout_rate: 0.1
    optimizer:
      AdamW: {betas: [0.9, 0.95], eps: 1.0e-8, weight_decay: 0.1}
    schedulers:
      - SequentialLR:
          schedulers:
            - LinearLR: {initial_learning_rate: 0.0, end_learning_rate: 0.01, total_iters: 4}
            - CosineDecayLR:
                {initial_learning_rate: 0.01, end_learning_rate: 0.001, total_iters: 16}
    precision: {enabled: false, max_gradient_norm: 1.0}
    sparsity: {algorithm: static, sparsity: 0.75}
    loop: {max_steps: 20, eval_frequency: 10}
    checkpoint: {steps: 5}
    logging: {log_steps: 1}
  fit:
    train_dataloader:
      data_processor: GptHDF5MapDataProcessor
      data_dir: train
      batch_size: 4
      shuffle: true
    val_dataloader:
      data_processor: GptHDF5MapDataProcessor
      data_dir: validation
      batch_size: 4
"""
