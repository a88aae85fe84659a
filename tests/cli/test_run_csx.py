from pathlib import Path

import pytest

from modelzoo_mediswift.cerebras import environment
from modelzoo_mediswift.cerebras.debug import Debug
from modelzoo_mediswift.cli import csx
from modelzoo_mediswift.cli.run import main, make_parser
from modelzoo_mediswift.config.load import load_config


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


def test_folders_are_added_to_the_files(run_files):
    text = Path("sparse.yaml").read_text()
    config = "backend: {cluster_config: {mount_dirs: [/a], python_paths: [/b]}}\n    seed:"
    assert "    seed:" in text
    Path("sparse.yaml").write_text(text.replace("seed:", config, 1))
    flags = "CSX -p sparse.yaml --mount_dirs /c /d"
    arguments = make_parser().parse_args(flags.split())
    cluster = load_config(Path("sparse.yaml"), csx.overrides(arguments)).init.backend.cluster_config
    assert cluster.mount_dirs == ("/c", "/d", "/a")
    assert cluster.python_paths == ("/b",)


def test_flags_for_support_have_types_and_are_no_configuration():
    line = (
        "CSX -p x --debug_args a.b=true c=text --ini i=3 --ini f=0.5 s= --debug_args_path file "
        "--wsc_log_level INFO <wgt>=DEBUG"
    )
    arguments = make_parser().parse_args(line.split())
    assert csx.overrides(arguments) == {}
    assert csx.debug(arguments) == Debug(
        ini={"i": 3, "f": 0.5, "s": ""},
        arguments={"a.b": True, "c": "text"},
        arguments_file=Path("file"),
        log_levels={"": "INFO", "<wgt>": "DEBUG"},
    )


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("CSX --ini a", "argument --ini: expected KEY=VALUE, got a"),
        ("GPU --dist_addr a:1", "argument --dist_addr: Model Zoo's flag is not used here: "),
        ("GPU --dist_backend mpi", "processes speak NCCL"),
        ("GPU --init_method env://", "as torchrun has them meet"),
    ],
)
def test_flags_that_are_refused_say_why(flags, message, capsys):
    with pytest.raises(SystemExit) as exit_:
        make_parser().parse_args([*flags.split(), "-p", "x"])
    assert exit_.value.code == 2
    assert message in capsys.readouterr().err


def test_a_label_is_a_pair(run_files, capsys):
    assert main(["CSX", "-p", "sparse.yaml", "--job_labels", "k=v", "team"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(
        "(changed on the command line): trainer.init.backend.cluster_config."
        'job_labels.1: expected key=value, got "team"'
    )
