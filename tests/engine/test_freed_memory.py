import os
import platform
import subprocess
import sys
from collections.abc import Mapping

import pytest

SIZE = 2**28
PROGRAM = f"""
import torch
from modelzoo_mediswift.engine.freed_memory import keep_freed_memory

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

keep_freed_memory()
before = resident()
torch.empty({SIZE}, dtype=torch.uint8).fill_(1)  # freed at once
print(resident() - before)
"""


def kept(environment: Mapping[str, str]) -> int:
    """Bytes that a process has not given back."""
    without = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, check=True, env=without | environment
    )
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's malloc")
def test_freed_memory_is_kept_unless_the_environment_has_other_wishes():
    assert kept({}) >= SIZE
    assert kept({"MALLOC_MMAP_MAX_": "65536"}) < SIZE // 2
