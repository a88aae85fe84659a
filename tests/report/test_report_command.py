"""The command, from arguments to files."""

import json

import pytest

from modelzoo_mediswift.cli.main import main


def test_writes_both_files_and_prints_the_table(demo, tmp_path, capsys):
    corpus = tmp_path / "counts.json"
    corpus.write_text(json.dumps({"in": 7, "dropped": {"title_only": 2}}))
    output = tmp_path / "a" / "report"
    arguments = ["report", *map(str, demo), "-o", str(output), "--corpus", str(corpus)]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert "dropped: title_only" in printed
    assert "30.6 % saved" in printed
    assert str(output / "report.html") in printed
    assert (output / "report.html").read_text().startswith("<!doctype html>")
    assert (output / "report.md").read_text().startswith("# MediSwift report")


def test_default_folder_lies_in_the_first_run(demo, capsys):
    assert main(["report", *map(str, demo)]) == 0
    assert (demo[0] / "report" / "report.html").is_file()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "counts.json: No such file or directory"),
        ("[1]", "counts.json: expected a JSON object of counts: not a JSON object"),
        ("{", "counts.json: expected a JSON object of counts: "),
    ],
)
def test_bad_corpus_file_is_one_line(demo, tmp_path, capsys, content, message):
    path = tmp_path / "counts.json"
    if content is not None:
        path.write_text(content)
    assert main(["report", str(demo[0]), "--corpus", str(path)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (demo[0] / "report").exists()


def test_missing_run_is_one_line(tmp_path, capsys):
    assert main(["report", str(tmp_path / "nowhere")]) == 2
    expected = f"error: {tmp_path}/nowhere: no such folder; expected a run's model_dir\n"
    assert capsys.readouterr().err == expected
