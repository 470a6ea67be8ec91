"""smallest, largest and nearest_zero against plain torch."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from kernels import plain
from testing import real_dtypes, refusals

from sparse_engine import ops

AWKWARD = [0.0, -0.0, 1.0, -1.0, 1e-30, -1e-30, 1e30, -1e30, 1e-44, float("inf"), -float("inf")]


@given(
    scores=st.lists(st.one_of(st.sampled_from(AWKWARD), st.floats(-4, 4, width=32)), max_size=80),
    count=st.integers(0, 83),
    bound=st.sampled_from([None, -torch.inf, -1.0, 0.0, 1.0, torch.inf]),
    dtype=real_dtypes(),
)
def test_equals_a_stable_sort(scores, count, bound, dtype):
    scores = torch.tensor(scores, dtype=dtype)
    chosen = ops.topology.smallest(scores, count, above=bound)
    assert torch.equal(chosen, plain.smallest(scores, count, above=bound))
    chosen = ops.topology.largest(scores, count, below=bound)
    assert torch.equal(chosen, plain.largest(scores, count, below=bound))
    if bound is None:
        assert chosen.sum() == min(count, scores.numel())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("levels", [1, 3, 1000, 10**9])
def test_many_scores_and_ties(dtype, levels, threads):
    scores = torch.randint(-levels, levels + 1, (200_000,)).to(dtype) / levels
    for count in (0, 1, 60_000, 199_999, 200_000, 300_000):
        expected = plain.smallest(scores, count, above=-0.5)
        for number in (1, 3):
            threads(number)
            assert torch.equal(ops.topology.smallest(scores, count, above=-0.5), expected)


def test_strided_scores():
    scores = torch.randn(60)[::3]
    assert torch.equal(ops.topology.smallest(scores, 7), plain.smallest(scores, 7))


def with_nan(at):
    return torch.randn(10).index_fill(0, torch.tensor(at), torch.nan)


smallest, nearest_zero = ops.topology.smallest, ops.topology.nearest_zero
test_what_cannot_be_chosen_is_refused = refusals(
    ("expected count of at least 0, found -1", lambda: smallest(torch.randn(10), -1)),
    ("dtype float32 or float64, found int64", lambda: smallest(torch.arange(10), 1)),
    (r"scores of shape \[10\], found \[2, 5\]", lambda: smallest(torch.randn(2, 5), 1)),
    *(
        (f"can be ordered, found NaN at link {at}", lambda at=at: smallest(with_nan(at), 2))
        for at in (0, 4, 9)
    ),
    ("NaN at link 1", lambda: nearest_zero(with_nan(1), 0.5)),
    *(
        (r"share in \[0, 1\], found", lambda share=share: nearest_zero(torch.randn(3), share))
        for share in (-0.1, 1.1, torch.nan)
    ),
)


@given(
    values=st.lists(st.one_of(st.sampled_from(AWKWARD), st.floats(-4, 4, width=32)), max_size=80),
    share=st.one_of(st.sampled_from([0.0, 0.1, 0.5, 1.0]), st.floats(0, 1)),
    dtype=real_dtypes(),
)
def test_nearest_zero_is_two_stable_sorts(values, share, dtype):
    values = torch.tensor(values, dtype=dtype)
    assert torch.equal(ops.topology.nearest_zero(values, share), plain.nearest_zero(values, share))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("levels", [1, 3, 1000, 10**9])
def test_nearest_zero_of_many(dtype, levels, threads):
    values = torch.randint(-levels, levels + 1, (200_000,)).to(dtype) / levels
    for share in (0.0, 1e-5, 0.3, 0.999, 1.0):
        expected = plain.nearest_zero(values, share)
        for number in (1, 3):
            threads(number)
            assert torch.equal(ops.topology.nearest_zero(values, share), expected)
