import resource
import signal
from collections import namedtuple

import pytest
import torch

from modelzoo_mediswift.checkpoint.directory import Checkpoint, list_checkpoints, save_checkpoint
from modelzoo_mediswift.checkpoint.mdl_file import write_mdl
from modelzoo_mediswift.errors import UserError


def test_a_checkpoint_that_does_not_fit_leaves_the_others_alone(tmp_path):
    small = Checkpoint(1, {"w": torch.zeros(4)})
    save_checkpoint(small, tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    # Beyond the limit a write fails, as on a full disk, if the signal is ignored.
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, limits[1]))
    try:
        with pytest.raises((UserError, OSError)) as error:
            save_checkpoint(Checkpoint(2, {"w": torch.zeros(1 << 16)}), tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert isinstance(error.value, UserError)
    assert [p.name for p in list_checkpoints(tmp_path)] == ["checkpoint_1"]
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint_1"]


def test_a_mdl_that_may_not_fit_is_not_begun(tmp_path, monkeypatch):
    pytest.importorskip("hdf5plugin")
    usage = namedtuple("usage", "free")
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage(4 * 1000 - 1))
    weight = torch.zeros(1000)
    with pytest.raises(UserError, match="may take 4,000 bytes, the disk has 3,999 free"):
        write_mdl({"a": weight, "tied": weight}, tmp_path / "a.mdl")
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_is_as_readable_as_its_folder(tmp_path):
    written = save_checkpoint(Checkpoint(1, {"w": torch.zeros(4)}), tmp_path)
    wanted = written.stat().st_mode & 0o666
    assert {path.stat().st_mode & 0o777 for path in written.iterdir()} == {wanted}
