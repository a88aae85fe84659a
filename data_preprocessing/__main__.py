"""From PubMed and PMC to HDF5 on the command line: python -m data_preprocessing STAGE."""

import argparse
import os
import signal
import sys
from collections.abc import Callable, Sequence

from data_preprocessing.cli import inputs, merging, tokens, whole
from modelzoo_mediswift.errors import UserError, system_message
from modelzoo_mediswift.help_format import CommandParser

EXAMPLE = """\
the whole way, in one command:
  python -m data_preprocessing run data_preprocessing/configs/sample.yaml

the same, stage by stage:
  python -m data_preprocessing sample work/sample
  python -m data_preprocessing parse work/sample/pubmed work/sample/pmc -o work/parsed
  python -m data_preprocessing merge work/parsed -o work/records
  python -m data_preprocessing tokenizer work/records -o work/tokenizer.json --vocab_size 2048
  python -m data_preprocessing pack work/records -t work/tokenizer.json -o work/packed \\
      --max_sequence_length 256
  python -m data_preprocessing finetune pubmedqa work/sample/pubmedqa -t work/tokenizer.json \\
      -o work/pubmedqa --max_sequence_length 256
  python -m data_preprocessing inspect work/packed -t work/tokenizer.json
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one stage; 0 if it worked, 2 for a user's mistake, 130 after Ctrl-C."""
    arguments = vars(_parser().parse_args(argv))
    run: Callable[..., None] = arguments.pop("run")
    try:
        run(**arguments)
        sys.stdout.flush()
    except BrokenPipeError:  # `... | head`: who reads has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at exit
        return 128 + signal.SIGPIPE
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:  # a full disk, a folder that may not be written
        print(f"error: {system_message(error, arguments.get('out'))}", file=sys.stderr)
        return 2
    except MemoryError as error:  # such as sequences of a length that no machine holds
        print(f"error: {str(error) or 'not enough memory'}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; nothing half-written was kept", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        prog="python -m data_preprocessing",
        description="From PubMed and PMC files to HDF5 for training, one stage at a time.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    stages = parser.add_subparsers(metavar="STAGE", required=True)
    for add in (
        inputs.add_sample,
        inputs.add_fetch,
        inputs.add_fetch_pmc,
        inputs.add_parse,
        merging.add_merge,
        tokens.add_tokenizer,
        tokens.add_pack,
        tokens.add_finetune,
        tokens.add_inspect,
        merging.add_card,
        whole.add_run,
    ):
        add(stages)
    return parser


if __name__ == "__main__":
    sys.exit(main())
