"""How much memory the host has left."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path


def available_memory(root: Path = Path("/")) -> int | None:
    """Bytes that a process can take before the system ends one; None where nothing tells (Linux).

    The least of what the kernel says and what the control groups around this process leave.
    """
    return min((*_of_the_machine(root), *_of_control_groups(root)), default=None)


def _of_the_machine(root: Path) -> Iterator[int]:
    for line in _read(root / "proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            yield int(line.split()[1]) * 1024


def _of_control_groups(root: Path) -> Iterator[int]:
    """What each group leaves, from this process's own to the outermost that can be seen.

    In a container the path is often the host's: the groups that are not there are passed over.
    """
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:  # version 2
            top, limit, usage, stat = "sys/fs/cgroup", "memory.max", "memory.current", ""
        elif "memory" in controllers.split(","):
            top, stat = "sys/fs/cgroup/memory", "total_"
            limit, usage = "memory.limit_in_bytes", "memory.usage_in_bytes"
        else:
            continue
        group = root / top / path.lstrip("/")
        while group.is_relative_to(root / top):
            most, used = _read(group / limit).strip(), _read(group / usage).strip()
            if most.isdigit() and used.isdigit():  # not "max"
                yield max(0, int(most) - int(used) + _files_in_cache(group, stat))
            group = group.parent


def _files_in_cache(group: Path, prefix: str) -> int:
    """Bytes that count as used, and that the system gives up when they are wanted."""
    kept = {f"{prefix}active_file", f"{prefix}inactive_file"}
    lines = [line.split() for line in _read(group / "memory.stat").splitlines()]
    return sum(int(line[1]) for line in lines if len(line) == 2 and line[0] in kept)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
