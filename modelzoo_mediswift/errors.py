"""The one exception that means "the user can fix this"."""


class UserError(Exception):
    """Bad input, said in one line. The command line prints it and leaves with exit code 2."""
