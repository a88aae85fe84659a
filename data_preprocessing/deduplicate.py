"""The same text again, to the letter or nearly (MinHash), across the whole corpus."""

import hashlib
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from modelzoo_mediswift.errors import missing_package

PERMUTATIONS = 128
SHINGLE = 5
"""Words in a row; MinHash estimates the share of them that two texts have in common."""
_SEED = 1

Positions = NDArray[np.int64]
Signatures = NDArray[np.uint32]


def text_hash(text: str) -> int:
    """64 bits of a text's words: white space does not count.

    Among 36 million texts the chance that any two differ and share a hash is 4 in 100,000.
    """
    digest = hashlib.blake2b(
        " ".join(text.split()).encode("utf-8", "surrogatepass"), digest_size=8
    ).digest()
    return int.from_bytes(digest, "little")


def later_copies(hashes: NDArray[np.uint64], candidates: Positions) -> Positions:
    """The candidates, given in order, whose hash an earlier candidate has."""
    _, first = np.unique(hashes[candidates], return_index=True)
    later = np.ones(len(candidates), bool)
    later[first] = False
    copies: Positions = candidates[later]
    return copies


def minhash_library() -> ModuleType:
    """The module rensa; raises UserError if it is not installed."""
    try:
        import rensa
    except ImportError:
        raise missing_package("near_duplicates", "rensa", "dedup") from None
    module: ModuleType = rensa
    return module


def signature(library: ModuleType, text: str) -> list[int]:
    """MinHash of the runs of SHINGLE words in a text (of the whole, if it has fewer)."""
    words = text.lower().split()
    count = max(1, len(words) - SHINGLE + 1)
    minhash = library.RMinHash(num_perm=PERMUTATIONS, seed=_SEED)
    minhash.update([" ".join(words[i : i + SHINGLE]) for i in range(count)])
    values: list[int] = minhash.digest()
    return values


def bands_for(threshold: float) -> int:
    """How many bands to cut a signature into: two texts are compared if they agree in one.

    A divisor b of PERMUTATIONS such that texts at the threshold s are compared with a chance
    1 - (1 - s^(PERMUTATIONS/b))^b of 95 % or more; fewer bands mean fewer comparisons.
    """
    for bands in (1, 2, 4, 8, 16, 32, 64):
        if 1 - (1 - threshold ** (PERMUTATIONS // bands)) ** bands >= 0.95:
            return bands
    return PERMUTATIONS


def near_copies(signatures: Signatures, candidates: Positions, threshold: float) -> Positions:
    """The candidates, given in order, that nearly equal an earlier one, or one of its copies.

    `signatures` [n, PERMUTATIONS] may lie on the disk; memory is some 40 bytes a candidate. In
    each band, texts that agree there are compared with the earliest of them: those that share
    `threshold` of their shingles by MinHash's estimate are copies.
    """
    parents = np.arange(len(candidates))
    width = PERMUTATIONS // (bands := bands_for(threshold))
    for band in range(bands):
        keys = _band_keys(signatures, candidates, band * width, width)
        order = np.argsort(keys, kind="stable")  # within a key, in the candidates' order
        same = np.flatnonzero(keys[order][1:] == keys[order][:-1]) + 1
        leader = -1
        previous = -2
        for at in same.tolist():
            if at != previous + 1:
                leader = int(order[at - 1])
            previous = at
            follower = int(order[at])
            a, b = _root(parents, leader), _root(parents, follower)
            if a != b and _agreement(signatures, candidates, leader, follower) >= threshold:
                parents[max(a, b)] = min(a, b)
    copies: Positions = candidates[parents != np.arange(len(candidates))]
    return copies


def _band_keys(
    signatures: Signatures, candidates: Positions, start: int, width: int
) -> NDArray[np.uint64]:
    """One number for what each candidate has in a band; read in blocks."""
    keys = np.zeros(len(candidates), np.uint64)
    block = 1 << 16
    for low in range(0, len(candidates), block):
        values = signatures[candidates[low : low + block]]
        for column in range(start, start + width):
            part = keys[low : low + block]
            part *= np.uint64(0x9E3779B97F4A7C15)
            part ^= values[:, column].astype(np.uint64)
            part ^= part >> np.uint64(29)
    return keys


def _agreement(signatures: Signatures, candidates: Positions, a: int, b: int) -> float:
    return float((signatures[candidates[a]] == signatures[candidates[b]]).mean())


def _root(parents: Positions, at: int) -> int:
    while (parent := int(parents[at])) != at:
        parents[at] = parents[parent]
        at = parent
    return at
