import importlib.metadata
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from modelzoo_mediswift.cerebras import environment
from modelzoo_mediswift.cerebras.environment import require_cerebras, require_cluster
from modelzoo_mediswift.errors import UserError

ROOT = Path(__file__).parents[2]


def test_without_the_library_the_message_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(environment, "is_installed", lambda: False)
    with pytest.raises(UserError) as error:
        require_cerebras()
    assert "\n" not in str(error.value)
    assert 'pip install -e ".[cerebras]" -c constraints/cerebras.txt' in str(error.value)


def test_the_compiler_beside_the_interpreter_is_found_without_activation(monkeypatch):
    monkeypatch.setattr(environment, "is_installed", lambda: True)
    monkeypatch.setenv("PATH", "/usr/bin")
    monkeypatch.setenv("CSTORCH_DEBUG", "0")  # not to leave what the call sets
    require_cerebras()
    require_cerebras()
    assert os.environ["PATH"].split(os.pathsep) == [str(Path(sys.executable).parent), "/usr/bin"]


def test_without_a_cluster_the_message_names_what_is_missing(monkeypatch, tmp_path):
    monkeypatch.setattr(environment, "CLUSTER_FILE", tmp_path / "config_v2")
    monkeypatch.delenv("CSCONFIG_PATH", raising=False)
    with pytest.raises(UserError, match=r"config_v2 and no --mgmt_address .*--validate_only"):
        require_cluster(None)
    require_cluster("cluster:443")
    (tmp_path / "config_v2").write_text("{}")
    require_cluster(None)
    monkeypatch.setenv("CSCONFIG_PATH", str(tmp_path / "other"))
    with pytest.raises(UserError, match="other, named by CSCONFIG_PATH, and no"):
        require_cluster(None)


@pytest.mark.parametrize(
    "code",
    [
        "import modelzoo_mediswift, modelzoo_mediswift.cli.main, modelzoo_mediswift.cli.run",
        "import modelzoo_mediswift.build, modelzoo_mediswift.build_csx",
    ],
)
def test_the_project_imports_without_the_library(code):
    check = f"{code}; import sys; sys.exit('cerebras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


def test_an_editable_install_is_a_plain_path_entry():
    """The Cerebras client looks for the project's folder as the prefix of a sys.path entry."""
    try:
        distribution = importlib.metadata.distribution("modelzoo-mediswift")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("the project is not installed here")
    direct = json.loads(distribution.read_text("direct_url.json") or "{}")
    if not direct.get("dir_info", {}).get("editable"):
        pytest.skip("the project is not installed in editable mode here")
    folder = Path(direct["url"].removeprefix("file://"))
    entries = {Path(entry) for entry in sys.path if entry}
    assert folder in entries
    installed = {str(file) for file in distribution.files or []}
    assert any(name.startswith("__editable__") and name.endswith(".pth") for name in installed)
    assert not any("finder" in name for name in installed)
