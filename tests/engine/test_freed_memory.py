import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource
import torch
from modelzoo_mediswift.engine.freed_memory import keep_freed_memory

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

assert not {ask} or keep_freed_memory()
torch.empty(2**26).fill_(1)  # 256 MiB, freed at once
before = faults()
torch.empty(2**26).fill_(1)
print(faults() - before)
"""


def pages_of_the_second_time(ask: bool) -> int:
    program = PROGRAM.format(ask=ask)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's malloc")
def test_freed_memory_is_used_again():
    assert pages_of_the_second_time(ask=False) > 10 * pages_of_the_second_time(ask=True)
