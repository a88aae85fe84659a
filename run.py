#!/usr/bin/env python3
"""Train or evaluate: python run.py {CSX,CPU,GPU} --params params/xl_s75.yaml"""

import sys

from modelzoo_mediswift.cli.run import main

if __name__ == "__main__":
    sys.exit(main())
