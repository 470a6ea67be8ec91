"""One step of real-time recurrent learning in panels, against dense torch."""

import pytest
import torch
from testing import random_pattern
from torch.testing import assert_close

from sparse_engine.ops.influence import COLUMNS, influence


def arguments(states, gates, units, panels, lanes, dtype=torch.float64, nnz=None):
    generator = torch.Generator().manual_seed(units)

    def normal(*shape):
        return torch.randn(shape, generator=generator, dtype=dtype)

    rows, entries = gates * units, panels * COLUMNS
    pattern = random_pattern(rows, units, rows * units // 3 if nnz is None else nnz)
    return [
        normal(lanes, panels, states, units, COLUMNS),
        normal(pattern.nnz),
        pattern,
        normal(lanes, states, units),
        normal(lanes, states, states, units),
        normal(lanes, states, gates, units),
        normal(lanes, states, entries),
        torch.randint(units, (entries,), generator=generator, dtype=torch.int32),
    ], normal(lanes, units)


@pytest.mark.cpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "sizes",
    # One panel at a time and two, of which a single one may be left, and two that fill the cache.
    [(1, 1, 7, 1, 1), (1, 3, 20, 2, 3), (2, 4, 13, 3, 2), (1, 1, 6000, 2, 1)],
    ids=str,
)
def test_a_step_with_and_without_a_gradient(sizes, dtype):
    given, upstream = arguments(*sizes, dtype, nnz=30_000 if sizes[2] > 1000 else None)
    given[4][..., ::2] = 0  # as where a unit keeps nothing of its state
    for each in (None, upstream):
        own, dense = given[0].clone(), given[0].clone()
        found = influence(own, *given[1:], each)
        wanted = influence.reference(dense, *given[1:], each)
        bound = (
            {"rtol": 1e-5, "atol": 1e-4 * max(1, sizes[2] / 1000)} if dtype == torch.float32 else {}
        )
        assert_close(own, dense, **bound)
        assert (found is None) == (each is None)
        if each is not None:
            assert_close(found, wanted, **bound)


@pytest.mark.cpu
@pytest.mark.parametrize("states", [1, 2])
def test_links_from_units_that_nothing_has_reached_are_skipped(states):
    """Not a number in their values enters no sum, and rows that rest have no sum at all."""
    given, upstream = arguments(states, 2, 40, 3, 2)
    influenced, rests = torch.arange(40) < 20, torch.arange(40) % 4 == 0
    given[0][..., ~influenced, :] = -0.0
    given[5][..., rests] = 0
    dense = given[0].clone()
    wanted = influence.reference(dense, *given[1:], upstream)
    skipped = ~influenced[given[2].col] | rests[given[2].rows() % 40]
    given[1][skipped] = torch.nan
    assert_close(influence(*given, upstream), wanted)
    assert_close(given[0], dense)


@pytest.mark.cpu
def test_influence_in_bfloat16():
    given, upstream = arguments(2, 3, 20, 3, 2, torch.float32)
    given[0] = given[0].bfloat16()
    dense = given[0].clone()
    wanted = influence.reference(dense, *given[1:], upstream)
    assert_close(influence(*given, upstream), wanted, rtol=1e-4, atol=1e-3)
    assert_close(given[0].float(), dense.float(), rtol=2**-7, atol=2**-6)
    with pytest.raises(ValueError, match="influence of dtype float64"):
        influence(given[0], given[1].double(), *given[2:])


@pytest.mark.cpu
def test_without_links_and_without_panels():
    given, upstream = arguments(1, 2, 5, 2, 1, nnz=0)
    own, dense = given[0].clone(), given[0].clone()
    assert_close(
        influence(own, *given[1:], upstream), influence.reference(dense, *given[1:], upstream)
    )
    assert_close(own, dense)
    given, upstream = arguments(1, 2, 5, 0, 1)
    assert influence(*given, upstream).shape == (0,)


@pytest.mark.cpu
def test_the_same_bits_for_any_number_of_threads(threads):
    given, upstream = arguments(1, 1, 300, 7, 2, torch.float32)
    found = []
    for count in (1, 2, 3):
        threads(count)
        own = given[0].clone()
        found.append((own, influence(own, *given[1:], upstream)))
    for own, gradient in found[1:]:
        assert torch.equal(own, found[0][0]) and torch.equal(gradient, found[0][1])


@pytest.mark.cpu
@pytest.mark.parametrize(
    ("place", "wrong", "match"),
    [
        (0, lambda t: t[0], r"influence of shape \[lanes, panels, states, units, 64\]"),
        (0, lambda t: t.repeat(1, 1, 3, 1, 1), "one or two states, found 3"),
        (0, lambda t: t.transpose(0, 1), "shape|contiguous"),
        (1, lambda t: t[1:], "values of shape"),
        (3, lambda t: t.float(), "of_source of dtype float64"),
        (4, lambda t: t[..., 1:], "of_state of shape"),
        (5, lambda t: t[..., 1:], "of_product of shape"),
        (6, lambda t: t[..., 1:], "immediate of shape"),
        (7, lambda t: t + 20, r"unit in \[0, 20\)"),
        (7, lambda t: t.long(), "unit of dtype int32"),
    ],
)
def test_what_does_not_fit_is_refused(place, wrong, match):
    given, upstream = arguments(1, 3, 20, 2, 3)
    before = given[0].clone()
    given[place] = wrong(given[place])
    with pytest.raises(ValueError, match=match):
        influence(*given, upstream)
    assert place == 0 or torch.equal(given[0], before)
