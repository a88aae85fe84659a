"""Benchmarks take any shape, and say what they measured."""

import argparse
import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from modelzoo_mediswift.kernels import library

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def load(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module


@pytest.mark.parametrize(
    ("hidden", "heads"), [(1024, 16), (40, 1), (100, 1), (200, 2), (320, 5), (1000, 10), (131, 1)]
)
def test_heads_divide_every_width(load, hidden, heads):
    assert load("steps").number_of_heads(hidden) == heads


def test_a_sparsity_is_a_share(load):
    share_of_zeros = load("steps").share_of_zeros
    assert share_of_zeros("0.3") == 0.3
    with pytest.raises(argparse.ArgumentTypeError, match=r"expected a number in \[0, 1\), got 75"):
        share_of_zeros("75")


def test_the_profile_tells_sparse_products_from_dense_ones(load):
    kind_of = load("profile_step").kind_of
    assert kind_of("_SparseLinearBackward") == "sparse products"
    assert kind_of("aten::linear") == kind_of("aten::addmm") == "matrix products"


@pytest.mark.skipif(not library.is_available(), reason="not compiled")
def test_decoding_is_measured_whatever_the_training_sequences_length(load, capsys):
    arguments = argparse.Namespace(
        vocab_size=30,
        hidden_size=24,
        layers=1,
        sequence_length=3,
        sparsity=[0.9],
        turns=1,
        processor_time=False,
    )
    load("sparse_cpu").decode_part(arguments)
    assert "90% sparse" in capsys.readouterr().out


def test_attention_says_where_it_has_no_kernels_to_measure():
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / "attention_cpu.py")],
        env=os.environ | {library.INSTRUCTIONS_VARIABLE: "AVX2"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "not measured: there is no compiled attention here in float32, bfloat16"
    ]
