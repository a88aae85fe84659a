from pathlib import Path

import pytest

from modelzoo_mediswift.engine.host_memory import available_memory


def write(root: Path, **files: str) -> Path:
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


MEMINFO = "MemTotal:       9000 kB\nMemFree:         100 kB\nMemAvailable:   8000 kB\n"


def test_without_groups_it_is_what_the_kernel_says(tmp_path):
    assert available_memory(tmp_path) is None  # no /proc: not Linux
    assert available_memory(write(tmp_path, proc__meminfo=MEMINFO)) == 8000 * 1024


@pytest.mark.parametrize(
    ("own", "outer", "expected"),
    [
        ("6000", "max", 6000 - 5000 + 300),
        ("max", "5500", 5500 - 5200),
        ("max", "max", 8000 * 1024),
        ("4000", "max", 0),  # lowered below what is used
    ],
)
def test_the_least_that_a_group_of_version_2_leaves(tmp_path, own, outer, expected):
    write(tmp_path, proc__meminfo=MEMINFO, proc__self__cgroup="0::/outer/own\n")
    outside, inside = "sys/fs/cgroup/outer/", "sys/fs/cgroup/outer/own/"
    write(tmp_path, **{outside + "memory.max": f"{outer}\n", outside + "memory.current": "5200\n"})
    write(tmp_path, **{inside + "memory.max": f"{own}\n", inside + "memory.current": "5000\n"})
    stat = "anon 4700\ninactive_file 200\nactive_file 100\n"
    write(tmp_path, **{inside + "memory.stat": stat})
    assert available_memory(tmp_path) == expected


def test_a_container_sees_its_group_of_version_1_at_the_top(tmp_path):
    """The path is the host's."""
    write(tmp_path, proc__meminfo=MEMINFO)
    write(tmp_path, proc__self__cgroup="9:cpu:/x\n4:cpuset,memory:/docker/0a1b\n0::/\n")
    top = "sys/fs/cgroup/memory/"
    write(tmp_path, **{top + "memory.limit_in_bytes": "7000", top + "memory.usage_in_bytes": "900"})
    write(tmp_path, **{top + "memory.stat": "inactive_file 7\ntotal_inactive_file 50\n"})
    assert available_memory(tmp_path) == 7000 - 900 + 50
