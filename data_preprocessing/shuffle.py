"""Random choices that are functions of a seed and a number, the same in every version of NumPy."""

import numpy as np
from numpy.typing import NDArray


def random_keys(count: int, seed: int) -> NDArray[np.uint64]:
    """A random-looking key for each of range(count), all different."""
    start = _mixed(np.array([seed % 2**64], np.uint64))
    counter = np.arange(count, dtype=np.uint64)
    return _mixed(np.add(start, counter, dtype=np.uint64))


def shuffled_order(count: int, seed: int) -> NDArray[np.int64]:
    """A permutation of range(count) that depends on nothing but the two numbers.

    Sorts by a hash of a counter: NumPy does not promise that its own generators give the same
    permutation in every version.
    """
    return np.argsort(random_keys(count, seed), kind="stable")


def _mixed(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64 (Steele et al. 2014), a one-to-one function that looks random."""
    z = (numbers + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
