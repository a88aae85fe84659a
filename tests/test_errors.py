import errno
import os
from pathlib import Path

import pytest

from modelzoo_mediswift.errors import system_message

HDF5 = """Can't synchronously write data (file write failed: time = Sat Nov 21,
filename = 'qa/data-00000.h5', file descriptor = 4, errno = 28, error message = 'No space left')"""
ARROW = "Error writing bytes to file. Detail: [errno 28] No space left on device"


@pytest.mark.parametrize(
    ("error", "output", "message"),
    [
        (OSError(errno.ENOSPC, "No space", "a.json"), "out", "a.json: no space left on the disk"),
        (OSError(errno.ENOSPC, "No space"), "out", "out: no space left on the disk"),
        (OSError(errno.ENOSPC, "No space"), None, "no space left on the disk"),
        (OSError(HDF5), "out", "qa/data-00000.h5: no space left on the disk"),
        (OSError(ARROW), Path("out"), "out: no space left on the disk"),
        (PermissionError(errno.EACCES, "Permission denied", "a"), "out", "a: Permission denied"),
        (OSError("errno 281: other\n  things"), "out", "errno 281: other things"),
    ],
)
def test_one_line_says_which_file_and_what(error, output, message):
    assert system_message(error, output) == message


def test_a_file_where_a_folder_should_be(tmp_path):
    (tmp_path / "a").touch()
    with pytest.raises(FileExistsError) as raised:
        (tmp_path / "a").mkdir(exist_ok=True)
    message = f"{tmp_path / 'a'}: is there already, and is not a folder"
    assert system_message(raised.value) == message
    with pytest.raises(FileExistsError) as raised:
        tmp_path.mkdir()
    assert system_message(raised.value) == f"{tmp_path}: {os.strerror(errno.EEXIST)}"
