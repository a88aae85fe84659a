"""Where the kernels can be compiled they are, else all their tests would be skipped in silence."""

import platform
import shutil
import sys

import pytest

from modelzoo_mediswift.kernels import library

CAN_COMPILE = (
    sys.platform == "linux"
    and platform.machine() == "x86_64"
    and any(shutil.which(compiler) for compiler in ("cc", "gcc"))
)


@pytest.mark.skipif(not CAN_COMPILE, reason="no C compiler, or not Linux on x86-64")
def test_the_library_is_there():
    assert library.is_available(), "build it: python setup.py build_ext --inplace"
