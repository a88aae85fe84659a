"""A mistake in a flag: one line, the nearest flag, exit code 2."""

import pytest

import data_preprocessing.__main__ as data
from modelzoo_mediswift.cli import main as mediswift
from modelzoo_mediswift.cli import run

PACK = ["pack", "records", "-t", "tokenizer.json", "-o", "packed", "--max_sequence_length", "8"]


@pytest.mark.parametrize(
    ("command", "given", "message"),
    [
        (
            run.main,
            ["CPU", "-p", "a.yaml", "--max_stpes", "3"],
            "unknown flag --max_stpes; did you mean --max_steps?; `run.py --help` says more",
        ),
        (run.main, ["CPU", "-p", "a.yaml", "--qqq=1"], "unknown flag --qqq; `run.py --help`"),
        (run.main, ["CPU", "-p", "a.yaml", "b.yaml"], 'unexpected argument "b.yaml"; `run.py'),
        (run.main, [], "arguments are required: device, -p/--params; `run.py --help` says more"),
        (
            mediswift.main,
            ["plan", "a.yaml", "--jsn"],
            "unknown flag --jsn; did you mean --json?; `mediswift plan --help` says more",
        ),
        (
            run.main,
            ["CPU", "-p", "a.yaml", "-m", "eval", "--checkpoint_path", ""],
            'argument --checkpoint_path: expected a path, got ""; `run.py --help` says more',
        ),
        (
            mediswift.main,
            ["sweep", "a.yaml", "--checkpoint_path="],
            'argument --checkpoint_path: expected a path, got ""; `mediswift sweep --help`',
        ),
        (mediswift.main, ["report", "run", "-o", ""], "argument -o/--output: expected a path, got"),
        (mediswift.main, ["plann"], "invalid choice: 'plann' (choose from"),
        (
            data.main,
            [*PACK, "--compresion", "gzip"],
            "unknown flag --compresion; did you mean --compression?; "
            "`python -m data_preprocessing pack --help` says more",
        ),
    ],
)
def test_a_mistake_is_one_line(command, given, message, capsys):
    with pytest.raises(SystemExit) as left:
        command(given)
    assert left.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert message in line
