import pytest

from modelzoo_mediswift.cerebras import environment
from modelzoo_mediswift.cli import csx
from modelzoo_mediswift.cli.run import main, make_parser


@pytest.fixture
def no_cluster(monkeypatch, tmp_path):
    monkeypatch.setattr(environment, "CLUSTER_FILE", tmp_path / "config_v2")
    monkeypatch.delenv("CSCONFIG_PATH", raising=False)


def test_without_a_cluster_one_line_and_exit_code_2(run_files, capsys, monkeypatch, no_cluster):
    monkeypatch.setattr(environment, "is_installed", lambda: True)
    for flags in ([], ["--compile_only"], ["--mode", "eval"]):
        assert main(["CSX", "-p", "sparse.yaml", *flags]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("error: CSX: no cluster is configured: ")
        assert "--validate_only works without a cluster" in line


def test_without_the_library_one_line_and_exit_code_2(run_files, capsys, monkeypatch):
    monkeypatch.setattr(environment, "is_installed", lambda: False)
    assert main(["CSX", "-p", "sparse.yaml", "--validate_only"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "pip install" in line


def test_mistakes_in_the_file_come_first(run_files, capsys):
    assert main(["CSX", "-p", "sparse.yaml", "--job_time_sec", "0"]) == 2
    assert "cluster_config.job_time_sec" in capsys.readouterr().err


def test_flags_of_a_cluster_are_refused_elsewhere(run_files, capsys):
    assert main(["CPU", "-p", "sparse.yaml", "--num_csx", "2"]) == 2
    assert "--num_csx is for CSX, not for CPU" in capsys.readouterr().err


def test_flags_set_model_zoos_keys():
    line = (
        "CSX -p x --num_csx 2 --num_workers_per_csx 3 --num_wgt_servers 4 --num_act_servers 5 "
        "--mgmt_address a:1 --mgmt_namespace n --credentials_path c --job_labels k=v l=w "
        "--job_priority p1 --job_time_sec 60 --mount_dirs /d --python_paths /p /q "
        "--disable_version_check --compile_dir dir --compile_only"
    )
    arguments = make_parser().parse_args(line.split())
    backend = "trainer.init.backend."
    cluster = backend + "cluster_config."
    assert csx.overrides(arguments) == {
        backend + "compile_only": True,
        backend + "compile_dir": "dir",
        cluster + "num_csx": 2,
        cluster + "num_workers_per_csx": 3,
        cluster + "max_wgt_servers": 4,
        cluster + "max_act_per_csx": 5,
        cluster + "mgmt_address": "a:1",
        cluster + "mgmt_namespace": "n",
        cluster + "credentials_path": "c",
        cluster + "job_labels": ["k=v", "l=w"],
        cluster + "job_priority": "p1",
        cluster + "job_time_sec": 60,
        cluster + "mount_dirs": ["/d"],
        cluster + "python_paths": ["/p", "/q"],
        cluster + "disable_version_check": True,
    }
