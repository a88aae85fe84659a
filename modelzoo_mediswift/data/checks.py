"""Do the numbers in the data fit the model's vocabulary?"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from modelzoo_mediswift.data.hdf5 import (
    INPUT_IDS,
    LABELS,
    LOSS_MASK,
    SequenceSource,
)
from modelzoo_mediswift.data.params_file import PARAMS_FILE
from modelzoo_mediswift.errors import UserError


def check_vocabulary(source: SequenceSource, vocab_size: int, num_virtual_tokens: int) -> None:
    """Compare data_params.json, if there is one, with the model; UserError if they do not fit."""
    if source.params is None or "vocab_size" not in source.params:
        return
    where = source.files[0].path.parent / PARAMS_FILE
    data_vocab = source.params["vocab_size"]
    data_virtual = source.params.get("num_virtual_tokens", 0)
    if data_vocab > vocab_size:
        raise UserError(f"{where}: vocab_size is {data_vocab}, but the model's is {vocab_size}")
    if data_virtual > num_virtual_tokens:
        raise UserError(
            f"{where}: num_virtual_tokens is {data_virtual}, but the model has {num_virtual_tokens}"
        )
    if data_virtual and data_vocab != vocab_size:
        raise UserError(
            f"{where}: virtual tokens start at id {data_vocab} (vocab_size), "
            f"but the model's start at {vocab_size}: write it with --vocab_size {vocab_size}"
        )


def check_block(
    block: NDArray[np.int32],
    indices: Sequence[int] | NDArray[np.integer],
    source: SequenceSource,
    vocab_size: int,
    num_virtual_tokens: int,
) -> None:
    """Check that ids, labels and loss mask of int32 [n, 3, MSL] are in range.

    Input ids may be virtual tokens (vocab_size and above), labels may not. Raises UserError that
    names the file and the sequence.
    """
    limits = {
        INPUT_IDS: ("input_ids", vocab_size + num_virtual_tokens),
        LOSS_MASK: ("loss mask", 2),
        LABELS: ("labels", vocab_size),
    }
    for row, (name, limit) in limits.items():
        values = block[:, row]
        # Seen as unsigned, a negative number is a huge one: one pass checks both ends.
        if not values.size or values.view(np.uint32).max() < limit:
            continue
        bad = (values < 0) | (values >= limit)
        sequence, position = (int(i) for i in np.argwhere(bad)[0])
        raise UserError(
            f"{source.locate(int(indices[sequence]))}: {name} holds "
            f"{int(values[sequence, position])} at position {position}, "
            f"expected a number in [0, {limit})"
        )
