"""The one exception that means "the user can fix this", and what the system says in one line."""

import errno
import re
from pathlib import Path

# HDF5 and Arrow have the system's error in their own words.
_FULL = re.compile(rf"errno\W+{errno.ENOSPC}\b", re.IGNORECASE)
_NAMED = re.compile(r"filename = '([^']+)'")


class UserError(Exception):
    """Bad input, said in one line. The command line prints it and leaves with exit code 2."""


def missing_package(what: str, package: str, extra: str) -> UserError:
    """`what` cannot be done without a package that an extra of this project brings."""
    return UserError(f'{what} needs the package {package}: pip install -e ".[{extra}]"')


def system_message(error: OSError, output: object = None) -> str:
    """One line for an error of the system: which file, and what is wrong with it.

    A full disk is named by its file, or else by the command's `output`.
    """
    said = " ".join(str(error.strerror or error).split())  # HDF5's messages have many lines
    if error.errno == errno.ENOSPC or _FULL.search(said):
        named = _NAMED.search(said)
        where = error.filename or (named[1] if named else output)
        return f"{where}: no space left on the disk" if where else "no space left on the disk"
    if isinstance(error, FileExistsError) and Path(error.filename or "").is_file():
        said = "is there already, and is not a folder"
    return f"{error.filename}: {said}" if error.filename else said
