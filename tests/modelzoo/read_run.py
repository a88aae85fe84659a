"""Run as a program: Model Zoo's own reader on folders of this project's packed data.

Prints how many sequences it gives that differ from ours, by folder.
"""

import json
import sys
from pathlib import Path

import numpy as np

from modelzoo_mediswift.cerebras.missing import replace_missing_harnesses
from modelzoo_mediswift.data.hdf5 import open_sequences

replace_missing_harnesses()

from cerebras.modelzoo.data.nlp.gpt.GptHDF5MapDataProcessor import (  # noqa: E402
    GptHDF5MapDataProcessor,
    GptHDF5MapDataProcessorConfig,
)

LENGTH, BATCH = 16, 2
found = {}
for folder in map(Path, sys.argv[1:]):
    length = LENGTH if "corpus" in folder.name else None
    ours = open_sequences(folder, length)
    config = GptHDF5MapDataProcessorConfig(
        data_processor="GptHDF5MapDataProcessor",
        data_dir=str(folder),
        batch_size=BATCH,
        max_sequence_length=length,
        shuffle=False,
    )
    batches = list(GptHDF5MapDataProcessor(config).create_dataloader())
    theirs = {
        name: np.concatenate([batch[name].numpy() for batch in batches])
        for name in ("input_ids", "attention_mask", "labels")
    }
    count = len(ours) // BATCH * BATCH
    same = np.stack(list(theirs.values()), axis=1) == ours.read(range(count))
    found[folder.name] = {
        "sequences": count,
        "read": len(theirs["input_ids"]),
        "different": int((~same).any(axis=(1, 2)).sum()),
    }
print(json.dumps(found))
