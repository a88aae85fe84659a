"""What TensorBoard reads back, and that importing it does not delay the first step."""

import subprocess
import sys

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from modelzoo_mediswift.engine.base import EvalResult, StepResult
from modelzoo_mediswift.trainer.callbacks.base import Run
from modelzoo_mediswift.trainer.callbacks.tensorboard_log import TensorBoardLogger


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # TensorBoard's own, of NumPy
def test_scalars_are_written_with_their_steps_those_before_training_too(tmp_path):
    logger = TensorBoardLogger()
    logger.on_start(Run(tmp_path, 0, 4, log_every=2))
    logger.on_evaluate(0, "validation", EvalResult(2.0, 0.25, 8))
    assert not (tmp_path / "events").exists()
    for step, loss in ((1, 9.0), (2, 8.0), (3, 7.0), (4, 6.0)):
        logger.on_step(StepResult(step, 0.5, 8, loss, 1.0))
    logger.on_evaluate(4, "validation", EvalResult(1.0, 0.5, 8))
    logger.on_end(4)
    read = EventAccumulator(str(tmp_path / "events")).Reload()

    def scalars(name: str) -> list[tuple[int, float]]:
        return [(event.step, event.value) for event in read.Scalars(name)]

    assert scalars("loss") == [(2, 8.0), (4, 6.0)]
    assert scalars("validation/loss") == [(0, 2.0), (4, 1.0)]
    assert scalars("validation/accuracy") == [(0, 0.25), (4, 0.5)]


def test_a_run_is_built_without_importing_tensorboard():
    code = "import modelzoo_mediswift.build, modelzoo_mediswift.trainer.callbacks.tensorboard_log"
    check = f"{code}\nimport sys; sys.exit('tensorboard' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
