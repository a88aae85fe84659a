import os
import platform
import subprocess
import sys
from collections.abc import Mapping

import pytest

SIZE = 2**28
PROGRAM = f"""
import torch
from modelzoo_mediswift.engine.freed_memory import give_back_freed_memory, keep_freed_memory

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

keep_freed_memory()
before = resident()
torch.empty({SIZE}, dtype=torch.uint8).fill_(1)  # freed at once
print(resident() - before)
give_back_freed_memory()
print(resident() - before)
torch.empty({SIZE}, dtype=torch.uint8).fill_(1)
print(resident() - before)
"""


def kept(environment: Mapping[str, str]) -> list[int]:
    """Bytes that a process has not given back: when it keeps them, and twice when it no longer
    does."""
    without = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, check=True, env=without | environment
    )
    return [int(line) for line in done.stdout.split()]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's malloc")
def test_freed_memory_is_kept_unless_the_environment_has_other_wishes():
    assert kept({"MALLOC_MMAP_MAX_": "65536"})[0] < SIZE // 2
    keeping, *giving_back = kept({})
    assert keeping >= SIZE
    assert max(giving_back) < SIZE // 2
