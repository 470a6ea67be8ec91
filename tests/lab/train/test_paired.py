"""Paired comparisons against SciPy, and the cases that it leaves open."""

import numpy as np
import pytest
from scipy import stats

from sparse_engine.lab.train.paired import holm, paired_test

A = np.random.default_rng(1).normal(size=8)
B = A - 0.4 + 0.3 * np.random.default_rng(2).normal(size=8)


def test_it_equals_scipy():
    found = paired_test(A, B)
    t = stats.ttest_rel(A, B)
    assert found.n == 8 and found.difference == pytest.approx((A - B).mean())
    assert found.t_p == pytest.approx(t.pvalue)
    assert (found.low, found.high) == pytest.approx(t.confidence_interval())
    assert found.low < found.difference < found.high
    assert found.rank_test == "wilcoxon"
    assert found.rank_p == pytest.approx(stats.wilcoxon(A - B, method="exact").pvalue)


@pytest.mark.parametrize(
    ("differences", "p"),
    [
        ([0.1, 0.2, 0.3, 0.4, 0.5], 2 / 2**5),  # few
        ([0.1, 0.2, 0.3, 0.4, 0.5, -0.5], 2 * 7 / 2**6),  # a tie
        ([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.0], 2 / 2**6),  # a zero, which does not count
        ([0.0, 0.0], None),
    ],
)
def test_the_sign_test_takes_over(differences, p):
    found = paired_test(differences, [0.0] * len(differences))
    assert found.rank_test == "sign" and found.rank_p == (p and pytest.approx(p))


def test_equal_differences_have_no_spread_to_test_by():
    same, shifted, single = (
        paired_test(*x) for x in [([1, 2], [1, 2]), ([2, 3], [1, 2]), ([1], [0])]
    )
    assert same.t_p == 1 and shifted.t_p is None and single.t_p is None
    assert shifted.difference == 1 and shifted.low is None and single.rank_p == 1


def test_holm():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, None, 0.9]) == [1.0, None, 1.0]
    assert holm([]) == []


@pytest.mark.parametrize(
    ("pairs", "found"),
    [(([], []), "pairs"), (([1, 2], [1]), r"\[2\] and \[1\]"), (([1, np.nan], [1, 2]), "finite")],
)
def test_what_is_no_pair_is_refused(pairs, found):
    with pytest.raises(ValueError, match=found):
        paired_test(*pairs)
