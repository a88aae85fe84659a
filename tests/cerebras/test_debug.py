"""What the library is told, and what it would pass over in silence."""

import re
import subprocess
import sys

import pytest

pytestmark = pytest.mark.cerebras

PROGRAM = """
import sys
from modelzoo_mediswift.cerebras.debug import Debug, set_debug
from modelzoo_mediswift.errors import UserError
for debug in map(eval, sys.argv[1:]):
    try:
        set_debug(debug)
        print("taken")
    except UserError as error:
        print(error)
"""


def test_mistakes_are_one_line_each(tmp_path):
    (tmp_path / "bad.txt").write_text("nonsense")
    cases = {
        "Debug(arguments={'debug_usr.no': 1})": '--debug_args: .*no field named "no"',
        "Debug(arguments={'debug_usr': 3})": "--debug_args: Failed to parse debug_usr field",
        "Debug(arguments_file='nowhere')": "--debug_args_path: .*No such file.*nowhere",
        "Debug(arguments_file='bad.txt')": '--debug_args_path: .*no field named "nonsense"',
        "Debug(log_levels={'': 'LOUD'})": "--wsc_log_level: expected a level .*, got LOUD",
        "Debug(log_levels={'<wg>': 'INFO'})": "--wsc_log_level: <wg>: expected <MODE>.<ROLE>",
        "Debug(log_levels={'<wgt>.<execute>': 'INFO'})": "--wsc_log_level: .*: expected <MODE>",
        "Debug(log_levels={'<execute>.<wgt>.tag': '10'})": "taken",
    }
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM, *cases],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = done.stdout.splitlines()
    assert len(lines) == len(cases), done.stderr
    for line, pattern in zip(lines, cases.values(), strict=True):
        assert re.match(pattern, line), line
