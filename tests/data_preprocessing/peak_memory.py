"""The peak memory of a program in a process of its own, in MB."""

import subprocess
import sys
from pathlib import Path

# Not getrusage: its maximum begins with the memory of the process that started this one.
PEAK = """
def peak():
    with open("/proc/self/status") as status:
        return int(next(line for line in status if line.startswith("VmHWM")).split()[1]) >> 10
"""


def megabytes(program: str, folder: Path) -> int:
    """Run `program`, which finds `folder` in argv, may call peak(), and prints a number of MB."""
    command = [sys.executable, "-c", PEAK + program, str(folder)]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
