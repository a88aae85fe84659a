"""The embedded sample corpus: generated, deterministic, and like the real files in form."""

from data_preprocessing.sample.corpus import write_sample

__all__ = ["write_sample"]
