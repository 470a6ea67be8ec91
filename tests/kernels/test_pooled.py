"""Large results in memory that is used again."""

import copy

import pytest
import torch
from testing import random_pattern
from torch.torch_version import TorchVersion

from sparse_engine import ops

pytestmark = [
    pytest.mark.cpu,
    pytest.mark.skipif(TorchVersion(torch.__version__) < "2.11", reason="torch makes all results"),
]
SMALL, VALUES = random_pattern(64, 8, 200), torch.randn(200)


def product(columns, scale=1.0):
    return ops.spmm(scale * VALUES, SMALL, torch.ones(8, columns))


@pytest.mark.parametrize(("columns", "pooled"), [(16_000, False), (17_000, True)])
def test_results_from_4_mib_on_come_from_the_pool(columns, pooled):
    assert product(columns).untyped_storage().resizable() != pooled


def test_memory_of_a_result_that_lives_is_left_alone():
    wanted = ops.spmm.reference(VALUES, SMALL, torch.ones(8, 20_000))
    kept = product(20_000)
    for scale in range(2, 8):
        other = product(20_000, scale)
        assert other.data_ptr() != kept.data_ptr()
        torch.testing.assert_close(other, scale * wanted)
    torch.testing.assert_close(kept, wanted)


def test_a_result_lives_as_long_as_its_views():
    row = product(20_000)[3]
    others = [product(20_000, scale) for scale in range(2, 5)]
    torch.testing.assert_close(row, others[0][3] / 2)


def test_results_are_copied_and_shared_like_others():
    y = product(20_000)
    wanted = y.clone()
    assert torch.equal(copy.deepcopy(y), wanted)
    assert torch.equal(y.share_memory_(), wanted)
    assert y.is_shared()
    assert torch.equal(y.resize_(2, 3), wanted.resize_(2, 3))
    with pytest.raises(RuntimeError, match="not resizable"):
        product(20_000).resize_(100, 20_000)
