"""Names of the package: none stands for two things, and layers import downwards only."""

import subprocess
import sys
from types import ModuleType

import pytest
import torch

from sparse_engine import analysis, nn, ops, topology
from sparse_engine.lab import plot


def names_of(module):
    return {
        name
        for name, entry in vars(module).items()
        if not name.startswith("_") and not isinstance(entry, ModuleType)
    }


@pytest.mark.parametrize("other", [analysis, nn, ops, plot, torch, torch.nn, torch.distributions])
def test_no_name_of_topology_has_a_namesake(other):
    assert not names_of(topology) & names_of(other)


def test_analysis_and_plot_share_no_name():
    assert not names_of(analysis) & names_of(plot)


def test_topology_does_without_analysis():
    program = "import sys, sparse_engine.topology; print('sparse_engine.analysis' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.split() == ["False"], done.stderr
