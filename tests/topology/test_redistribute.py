"""Links shared out among weights: by rules of redistribution, and exactly."""

import math
from fractions import Fraction
from math import inf, nan

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from testing import patterns, refusals
from torch import nn

from sparse_engine.nn import SparseLinear, SparseWeight
from sparse_engine.topology.apportion import apportion, apportion_logs
from sparse_engine.topology.grow import MomentumGrowth, captured_terms, gradient_blocks
from sparse_engine.topology.redistribute import (
    ByMagnitude,
    ByMomentum,
    ByNonzeros,
    Evenly,
)

RULES = [ByMagnitude(), ByNonzeros(), Evenly()]


def literal_share(rule, values, dropped):
    kept = values[~dropped]
    if isinstance(rule, Evenly):
        return 1
    if isinstance(rule, ByNonzeros):
        return len(kept)
    return np.mean(np.abs(kept)) if len(kept) else 0


def assert_in_proportion(counts, shares):
    total = sum(counts)
    assert all(
        abs(count - total * share / sum(shares)) < 1
        for count, share in zip(counts, shares, strict=True)
    )


@pytest.mark.parametrize("rule", RULES)
def test_literally(rule, weight_of):
    weights = [
        weight_of(torch.linspace(-1, 3, 50, dtype=torch.float64), 100, 90),
        weight_of(torch.linspace(-0.2, 0.1, 300, dtype=torch.float64), 200, 90),
        weight_of(torch.full((7,), -2.0, dtype=torch.float64), 60, 60),
        weight_of(torch.zeros(20, dtype=torch.float64), 60, 60),
    ]
    dropped = [torch.arange(weight.nnz) % (2 + i) == 0 for i, weight in enumerate(weights)]
    wanted = [int(gone.sum()) for gone in dropped]
    before = [weight.values.detach().clone() for weight in weights]
    counts = rule.counts(weights, dropped, wanted)
    shares = [
        literal_share(rule, values.numpy(), gone.numpy())
        for values, gone in zip(before, dropped, strict=True)
    ]
    assert [rule.share(*each) for each in zip(weights, dropped, strict=True)] == shares
    assert sum(counts) == sum(wanted) == 131
    assert_in_proportion(counts, shares)
    assert all(map(torch.equal, (weight.values for weight in weights), before))


def trained(optimizer):
    torch.manual_seed(0)
    model = nn.Sequential(SparseLinear(30, 40, density=0.1), SparseLinear(40, 50, density=0.2))
    optimizer = optimizer(model.parameters())
    for layer in model:
        layer.weight.captured = []
    for _ in range(3):
        for layer in model:
            layer.weight.captured.append([])
        optimizer.zero_grad()
        model(torch.randn(8, 30)).square().sum().backward()
        optimizer.step()
    return [layer.weight for layer in model], optimizer


MOMENTA = {
    "SGD": (lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9), "momentum_buffer"),
    "Adam": (torch.optim.Adam, "exp_avg"),
    "AdamW": (torch.optim.AdamW, "exp_avg"),
    "Adamax": (torch.optim.Adamax, "exp_avg"),
}


@pytest.mark.parametrize("name", MOMENTA)
def test_momentum_literally(name):
    make, entry = MOMENTA[name]
    weights, optimizer = trained(make)
    dropped = [torch.arange(weight.nnz) % 3 == 0 for weight in weights]
    shares = [
        np.mean(np.abs(optimizer.state[weight.values][entry][~gone].numpy()))
        for weight, gone in zip(weights, dropped, strict=True)
    ]
    rule = ByMomentum(optimizer)
    assert [rule.share(*each) for each in zip(weights, dropped, strict=True)] == pytest.approx(
        shares, rel=1e-5
    )
    assert_in_proportion(rule.counts(weights, dropped, [100, 67]), shares)


@pytest.mark.parametrize("name", MOMENTA)
def test_links_are_shared_out_by_what_they_grow_by(name):
    """The momentum that growth looks at, where a link is, is the optimizer's."""
    beta = MomentumGrowth().beta
    weights, optimizer = trained(MOMENTA[name][0])
    for weight in weights:
        ((_, block),) = gradient_blocks(captured_terms(weight, beta))
        there = block[weight.rows(), weight.col_indices.long()].abs()
        share = ByMomentum(optimizer).share(weight, torch.zeros(weight.nnz, dtype=torch.bool))
        scale = 1 if name == "SGD" else 1 - beta
        assert share == pytest.approx(scale * float(there.mean()), rel=1e-5)


def shared_by(make):
    weights, optimizer = trained(make)
    gone = torch.zeros(weights[0].nnz, dtype=torch.bool)
    return lambda: ByMomentum(optimizer).share(weights[0], gone)


test_an_optimizer_without_momentum_is_refused = refusals(
    (r"momentum .*the entries \[.*\] of SGD", shared_by(lambda p: torch.optim.SGD(p, lr=0.1))),
    (r"momentum .*entries \['step', 'sum'\] of Adagrad", shared_by(torch.optim.Adagrad)),
)


def of_sizes(weight_of, *sizes):
    """Weights of 100 positions and so many links, none of which goes."""
    weights = [weight_of(torch.ones(nnz), 10, 10) for nnz in sizes]
    return weights, [torch.zeros(nnz, dtype=torch.bool) for nnz in sizes]


def test_caps_give_way_where_they_leave_no_room(weight_of):
    weights, dropped = of_sizes(weight_of, 90, 95)
    assert Evenly(cap=0.5).counts(weights, dropped, [7, 0]) == [5, 2]
    assert Evenly(cap=0.5).counts(weights, dropped, [10, 0]) == [5, 5]
    assert Evenly(cap=0.5).counts(weights, dropped, [10, 3]) == [8, 5]
    assert Evenly(cap=0.5).counts(weights, dropped, [10, 5]) == [10, 5]
    with pytest.raises(ValueError, match="expected at most the sum 15 of the limits, found 16"):
        Evenly(cap=0.5).counts(weights, dropped, [10, 6])


@pytest.mark.parametrize("rule", RULES)
@given(
    wirings=st.lists(patterns(), min_size=1, max_size=4),
    cap=st.floats(0.01, 1),
    fraction=st.floats(0, 1),
)
def test_any_structures_keep_the_total_and_fit(rule, wirings, cap, fraction):
    weights = [SparseWeight(torch.randn(pattern.nnz), pattern) for pattern in wirings]
    dropped = [torch.rand(weight.nnz) < fraction for weight in weights]
    wanted = [int(gone.sum()) for gone in dropped]
    free = [
        math.prod(weight.shape) - weight.nnz + gone
        for weight, gone in zip(weights, wanted, strict=True)
    ]
    counts = type(rule)(cap=cap).counts(weights, dropped, wanted)
    assert sum(counts) == sum(wanted)
    capped = [int(cap * positions) for positions in free]
    limits = capped if sum(capped) >= sum(wanted) else free
    assert all(0 <= count <= limit for count, limit in zip(counts, limits, strict=True))


def test_the_cap_passes_on_what_a_full_weight_cannot_take(weight_of):
    weights, dropped = of_sizes(weight_of, 80, 10, 10)
    # 30 links in proportion 8 : 1 : 1 are 24, 3 and 3; the first has 20 free positions.
    assert ByNonzeros(cap=0.5).counts(weights, dropped, [10, 10, 10]) == [10, 10, 10]
    assert ByNonzeros(cap=0.9).counts(weights, dropped, [20, 5, 5]) == [18, 6, 6]
    assert ByNonzeros(cap=1.0).counts(weights, dropped, [20, 5, 5]) == [20, 5, 5]
    assert ByNonzeros().counts(weights, dropped, [20, 5, 5]) == [19, 6, 5]


def test_what_was_dropped_is_free(weight_of):
    weights, dropped = of_sizes(weight_of, 100, 50)
    dropped[0][:30] = True
    assert ByNonzeros(cap=0.5).counts(weights, dropped, [30, 0]) == [15, 15]


@pytest.mark.parametrize(
    ("total", "shares", "limits", "expected"),
    [
        (10, [1, 1, 1], None, [4, 3, 3]),
        (100, [47, 16, 15.8, 12, 6.1, 3.1], None, [47, 16, 16, 12, 6, 3]),
        (10, [5, 3, 2], None, [5, 3, 2]),
        (7, [0, 1, 0], None, [0, 7, 0]),
        (5, [0.0, 0.0], None, [3, 2]),
        (0, [], None, []),
        # Of 12, 8 are for the first, which takes 5; the other 7 are split 2 to 1.
        (12, [6, 2, 1], [5, 9, 9], [5, 5, 2]),
        # The first's excess fills the second too.
        (12, [6, 2, 1], [5, 4, 9], [5, 4, 3]),
        # Shares of 0 get what the others cannot take, evenly.
        (12, [3, 0, 0], [5, 9, 9], [5, 4, 3]),
        (12, [1, 1, 1], [4, 4, 4], [4, 4, 4]),
        (3, [1e-300, 1e300], None, [0, 3]),
        (10**18 + 1, [1, 1], None, [5 * 10**17 + 1, 5 * 10**17]),
    ],
)
def test_worked_examples(total, shares, limits, expected):
    assert apportion(total, shares, limits) == expected


SHARES = st.one_of(st.integers(0, 5), st.floats(0, 1e6), st.just(0))


@given(data=st.data(), shares=st.lists(SHARES, min_size=1, max_size=8))
def test_exact_sums_within_limits_in_proportion(data, shares):
    size = len(shares)
    limits = data.draw(st.lists(st.integers(0, 50), min_size=size, max_size=size))
    total = data.draw(st.integers(0, sum(limits)))
    parts = apportion(total, shares, limits)
    assert sum(parts) == total
    assert all(0 <= part <= limit for part, limit in zip(parts, limits, strict=True))
    # Parts below their limits differ from exact proportion to each other by less than one link.
    below = [i for i in range(size) if parts[i] < limits[i]]
    whole = sum(Fraction(shares[i]) for i in below)
    for i in below:
        even = Fraction(1, len(below))
        share = Fraction(shares[i]) / whole if whole else even
        quota = share * sum(parts[j] for j in below)
        assert abs(parts[i] - quota) < len(below)


@given(shares=st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=8), total=st.integers(0, 999))
def test_without_limits_every_part_is_its_quota_rounded_up_or_down(shares, total):
    exact = [Fraction(share) for share in shares]
    for part, share in zip(apportion(total, shares), exact, strict=True):
        assert abs(part - total * share / sum(exact)) < 1


test_what_cannot_be_shared_out_is_refused = refusals(
    *(
        ("finite shares of at least 0, found", lambda share=share: apportion(3, [1.0, share]))
        for share in (nan, inf, -1, -1e-9)
    ),
    ("at most the sum 7 of the limits, found 8", lambda: apportion(8, [1, 1], [3, 4])),
)


def literal_shares(total, weights, capacities):
    """One at a time: what is above its capacity becomes full, and the rest is shared anew."""
    full = set()
    while True:
        rest = [i for i in range(len(weights)) if i not in full]
        left = total - sum(capacities[i] for i in full)
        scale = left / sum(weights[i] for i in rest) if rest else 0
        over = [i for i in rest if scale * weights[i] > capacities[i]]
        if not over:
            return [capacities[i] if i in full else scale * weights[i] for i in range(len(weights))]
        full.update(over)


@given(data=st.data())
def test_shares_are_the_literal_rule(data):
    n = data.draw(st.integers(1, 12))
    weights = data.draw(st.lists(st.floats(0.01, 100), min_size=n, max_size=n))
    capacities = data.draw(st.lists(st.sampled_from([0, 1, 5, 300]), min_size=n, max_size=n))
    total = data.draw(st.integers(0, sum(capacities)))
    counts = apportion_logs(total, np.log(weights), capacities)
    assert counts.sum() == total
    assert ((counts >= 0) & (counts <= capacities)).all()
    shares = np.array(literal_shares(total, weights, capacities))
    assert (np.abs(counts - shares) < 1 + 1e-9).all()


def test_remainders_go_to_the_largest_fractions():
    # Shares 2.2, 1.1, 0.9, 0.8: two links are left, for 0.9 and 0.8.
    counts = apportion_logs(5, np.log([2.2, 1.1, 0.9, 0.8]), [9, 9, 9, 9])
    assert counts.tolist() == [2, 1, 1, 1]
    assert apportion_logs(3, np.zeros(5), [9] * 5).tolist() == [1, 1, 1, 0, 0]


def test_weights_may_differ_by_any_factor():
    logs = -1e7 * np.arange(5.0)
    assert apportion_logs(10, logs, [4, 4, 4, 4, 4]).tolist() == [4, 4, 2, 0, 0]
    assert apportion_logs(20, logs, [4, 4, 4, 4, 4]).tolist() == [4] * 5
    big = 10**12
    assert apportion_logs(big + 1, np.log([3.0, 1.0, 1e-9]), [big, big, big]).sum() == big + 1
