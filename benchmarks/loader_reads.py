"""Random access to packed sequences: sequences per second, and what compression costs.

    python benchmarks/loader_reads.py PACKED_FOLDER [--copies 4]

PACKED_FOLDER is a split that `pack` wrote in the sample layout, such as data/packed/train. Its
sequences are written again with each compression, `--copies` times, and read in random order in
batches of 64, in one process.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from data_preprocessing.write_hdf5 import COMPRESSIONS, write_samples
from modelzoo_mediswift.data.hdf5 import open_sequences

BATCH = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--copies", type=int, default=4)
    arguments = parser.parse_args()
    source = open_sequences(arguments.folder)
    samples = source.read(range(len(source)))
    msl = source.max_sequence_length
    total = len(samples) * arguments.copies
    print(f"{total:,} sequences of {msl} tokens")
    order = np.random.default_rng(0).permutation(total)
    for compression in COMPRESSIONS:
        with tempfile.TemporaryDirectory() as work:
            start = time.perf_counter()
            write_samples(
                Path(work),
                (sample for _ in range(arguments.copies) for sample in samples),
                max_sequence_length=msl,
                compression=compression,
            )
            written = time.perf_counter() - start
            size = sum(path.stat().st_size for path in Path(work).iterdir())
            packed = open_sequences(work)
            wanted = order if compression is None else order[:2048]
            start = time.perf_counter()
            for low in range(0, len(wanted), BATCH):
                packed.read(wanted[low : low + BATCH])
            taken = time.perf_counter() - start
        print(
            f"{compression or 'none'}: {size / total / 1024:.2f} KiB/sequence, "
            f"written {total / written:,.0f}/s, read {len(wanted) / taken:,.0f}/s"
        )


if __name__ == "__main__":
    main()
