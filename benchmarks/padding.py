"""How much of fine-tuning's batches is padding: whole windows, cut to the batch, grouped by length.

python benchmarks/padding.py data/pubmedqa_pqal_fold0/train data/hoc_1024/train
"""

import argparse
from itertools import islice
from pathlib import Path

from modelzoo_mediswift.config.callbacks import GroupByLength
from modelzoo_mediswift.data.hdf5 import open_sequences
from modelzoo_mediswift.data.loader import TrainLoader

WAYS = {
    "whole": {},
    "cut": {"cut_padding": True},
    "grouped": {"cut_padding": True, "group_window": GroupByLength().window},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path, help="folders that `finetune` wrote")
    parser.add_argument("--batch_sizes", nargs="+", type=int, default=[8, 16, 32, 64])
    parser.add_argument("--epochs", type=int, default=10)
    flags = parser.parse_args()
    for folder in flags.folders:
        source = open_sequences(folder)
        assert source.params is not None
        words, virtual = (source.params[key] for key in ("vocab_size", "num_virtual_tokens"))
        for batch_size in flags.batch_sizes:
            shares = []
            for name, options in WAYS.items():
                loader = TrainLoader(
                    source,
                    batch_size,
                    vocab_size=words,
                    num_virtual_tokens=virtual,
                    shuffle=True,
                    **options,
                )
                for _ in islice(loader, flags.epochs * len(source) // batch_size):
                    pass
                shares.append(f"{name} {loader.padding.share:.1%}")
            print(f"{folder}, batches of {batch_size}: {', '.join(shares)}")


if __name__ == "__main__":
    main()
