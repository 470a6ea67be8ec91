"""``import sparse_engine`` gives every subpackage, and imports none before it is used."""

import importlib
import subprocess
import sys

import pytest

import sparse_engine

SUBPACKAGES = [
    "analysis", "callbacks", "convert", "nn", "ops", "optim", "plot", "tasks", "topology", "train"
]  # fmt: skip


@pytest.mark.parametrize("name", SUBPACKAGES)
def test_a_subpackage_is_an_attribute(name):
    found = sparse_engine.__getattr__(name)
    assert found is getattr(sparse_engine, name)
    assert found is importlib.import_module(f"sparse_engine.{name}")
    assert name in dir(sparse_engine)


def test_other_names_are_attribute_errors():
    assert not hasattr(sparse_engine, "networks")
    assert {"__version__", "__doc__"} <= {*dir(sparse_engine)}


def test_nothing_is_imported_before_it_is_used():
    script = """
import sys
import sparse_engine
assert not {"torch", "numpy", "scipy", "matplotlib"} & sys.modules.keys()
rnn = sparse_engine.nn.SparseRNN(2, 4, density=0.5)
assert "matplotlib" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True)
