"""Packages of every cell, each of which a compiler works on for seconds."""

import pytest
import torch
from testing import CELLS, output_of, packaged_output
from torch.testing import assert_close

from sparse_engine.nn import SparseLinear

pytestmark = [
    pytest.mark.exhaustive,
    pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec:FutureWarning"),  # in torch
]

MODULES = CELLS | {"linear": SparseLinear}


@pytest.mark.parametrize("kind", MODULES)
def test_a_package_computes_the_same(kind, tmp_path):
    module, x = MODULES[kind](6, 21, density=0.3), torch.randn(7, 3, 6)
    assert_close(packaged_output(module, x, tmp_path), output_of(module, x))
