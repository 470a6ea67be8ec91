"""Strength of inputs against a sum over the dense matrix."""

import numpy as np
import pytest

from sparse_engine.analysis import input_strength
from sparse_engine.convert import to_scipy
from sparse_engine.nn import SparseWeight

FORMS = {
    "weight": lambda weight: weight,
    "csr": to_scipy,
    "coo": lambda weight: to_scipy(weight).tocoo(),
    "torch": lambda weight: weight.to_torch_csr(),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("shape", [(7, 12), (12, 7), (0, 4), (4, 0)])
def test_is_the_sum_of_magnitudes_of_each_column(form, shape):
    weight = SparseWeight.erdos_renyi(*shape, density=0.3)
    expected = weight.to_dense().detach().abs().double().sum(0).numpy()
    found = input_strength(FORMS[form](weight))
    assert found.dtype == np.float64 and found.shape == (shape[1],)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
