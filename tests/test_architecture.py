"""The arrows of docs/architecture.md: who may import whom."""

import ast
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = ("modelzoo_mediswift", "data_preprocessing")

FREE = {"errors", "whole_files", "help_format"}  # every module may use them
PARTS = {"config", "model", "sparsity", "data", "optim", "tasks", "plan", "report", "kernels"}
BUILD_PARTS = {
    "build_model",
    "build_data",
    "build_start",
    "build_length",
    "build_engine",
    "build_memory",
    "build_trainer",
}
MAY_IMPORT = {
    **{part: set() for part in PARTS},
    "model": {"kernels"},
    "engine": PARTS,
    "checkpoint": PARTS,
    "evaluation": PARTS,
    "trainer": PARTS | {"engine", "checkpoint"},
    "build_model": PARTS,
    "build_data": PARTS | {"build_model"},
    "build_engine": PARTS | {"engine", "build_model", "build_memory"},
    "build_memory": PARTS | {"engine"},
    "build_start": PARTS | {"engine", "checkpoint", "trainer"},
    "build_length": PARTS | {"trainer"},
    "build_trainer": PARTS | {"engine", "checkpoint", "trainer", "build_start", "build_length"},
    "build": PARTS | {"engine", "checkpoint", "trainer"} | BUILD_PARTS,
    "cerebras": PARTS | {"engine"},
    "build_csx": PARTS | {"engine", "checkpoint", "trainer", "cerebras"} | BUILD_PARTS,
    "sweep": PARTS,
    "cli": PARTS
    | {"engine", "checkpoint", "evaluation", "trainer", "sweep", "cerebras"}
    | BUILD_PARTS
    | {"build", "build_csx"},
}
NO_TORCH = ("data_preprocessing", "tasks", "plan", "config", "report", "data/hdf5.py")


def sources(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.py")) if folder.is_dir() else [folder]


def imports(path: Path, *, top_level_only: bool = False) -> set[str]:
    """Modules that a file imports, with the names taken from the project's packages."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = set()
    for node in tree.body if top_level_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("part", sorted(MAY_IMPORT))
def test_packages_import_only_what_the_arrows_allow(part):
    folder = ROOT / "modelzoo_mediswift" / part
    allowed = MAY_IMPORT[part] | {part} | FREE
    for path in sources(folder if folder.is_dir() else folder.with_suffix(".py")):
        for name in imports(path):
            if name.startswith("data_preprocessing"):
                pytest.fail(f"{path} imports {name}")
            if name.startswith("modelzoo_mediswift."):
                assert name.split(".")[1] in allowed, f"{path} imports {name}"


def test_data_preprocessing_uses_the_data_contract_and_the_tasks_only():
    allowed = (
        "modelzoo_mediswift.config.section",
        "modelzoo_mediswift.config.yaml_file",
        "modelzoo_mediswift.data.hdf5",
        "modelzoo_mediswift.tasks",
        "modelzoo_mediswift.errors",
        "modelzoo_mediswift.help_format",
        "modelzoo_mediswift.whole_files",
    )
    for path in sources(ROOT / "data_preprocessing"):
        for name in imports(path):
            assert not name.startswith("modelzoo_mediswift") or name.startswith(allowed), path


def test_cerebras_is_imported_in_its_package_alone():
    home = ROOT / "modelzoo_mediswift" / "cerebras"
    for project in PROJECT:
        for path in sources(ROOT / project):
            if home not in path.parents:
                assert not any(n.split(".")[0] == "cerebras" for n in imports(path)), path


@pytest.mark.parametrize("part", NO_TORCH)
def test_these_parts_do_not_import_torch(part):
    base = ROOT if part == "data_preprocessing" else ROOT / "modelzoo_mediswift"
    for path in sources(base / part):
        assert not any(name.split(".")[0] == "torch" for name in imports(path)), path


def test_there_are_no_drawers_for_odds_and_ends():
    names = {p.stem for project in PROJECT for p in (ROOT / project).rglob("*")}
    assert not names & {"utils", "util", "common", "helpers", "misc"}


def test_every_package_is_described_in_the_architecture():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    for package in MAY_IMPORT:
        assert f"`{package}" in text, package


@pytest.mark.parametrize(
    "code",
    [
        "import modelzoo_mediswift.plan.plan, modelzoo_mediswift.config.load",
        # The help of all commands comes from the modules of all of them.
        "from modelzoo_mediswift.cli.main import main\ntry: main(['--help'])\nexcept SystemExit: 0",
        "import data_preprocessing.__main__",
    ],
)
def test_light_commands_start_without_torch(code):
    check = f"{code}\nimport sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


def test_test_files_have_names_of_their_own():
    """pytest imports them by name alone."""
    names = Counter(path.name for path in (ROOT / "tests").rglob("test_*.py"))
    assert not [name for name, count in names.items() if count > 1]
