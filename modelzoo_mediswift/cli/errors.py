"""How a command ends: one line per mistake, and an exit code that scripts can rely on."""

from __future__ import annotations

import sys
from collections.abc import Callable

from modelzoo_mediswift.errors import UserError, system_message

BAD_INPUT = 2
INTERRUPTED = 130  # 128 + SIGINT, as shells have it


def say(line: str, error: BaseException) -> None:
    """Tell the user what the error means."""
    print(line, file=sys.stderr)


def guarded(command: Callable[[], int], tell: Callable[[str, BaseException], None] = say) -> int:
    """Run `command` and turn the user's mistakes into messages."""
    try:
        return command()
    except UserError as error:
        for line in str(error).splitlines():
            tell(f"error: {line}", error)
        return BAD_INPUT
    except KeyboardInterrupt as error:
        tell("interrupted", error)
        return INTERRUPTED
    except BrokenPipeError:  # `mediswift plan ... | head`
        sys.stderr.close()
        return 0
    except OSError as error:  # a full disk, a folder without permission
        tell(f"error: {system_message(error)}", error)
        return BAD_INPUT
