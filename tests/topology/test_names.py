"""Names of the package: none stands for two things."""

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
