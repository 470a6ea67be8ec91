"""One threshold over a model, read word for word with a sorted list."""

import pytest
import torch

from sparse_engine.ops import RandomKey
from sparse_engine.topology import Dynamic, GlobalMagnitude, Magnitude, Uniform


def literal(vectors, fractions):
    count = sum(int(f * len(vector)) for f, vector in zip(fractions, vectors, strict=True))
    links = [(abs(v), i, j) for i, vector in enumerate(vectors) for j, v in enumerate(vector)]
    gone = [[False] * len(vector) for vector in vectors]
    for _, i, j in sorted(links)[:count]:
        gone[i][j] = True
    return gone


@pytest.mark.parametrize("fractions", [(0.3, 0.3, 0.3, 0.3), (1.0, 0.0, 0.5, 0.9), (0.0,) * 4])
@pytest.mark.parametrize("kind", ["ordinary", "ties", "zeros"])
def test_literally(fractions, kind, weight_of):
    vectors = [scale * torch.randn(n) for scale, n in ((1, 40), (0.1, 30), (9, 0), (3, 1))]
    if kind != "ordinary":
        vectors = [vector.round() * (kind == "ties") for vector in vectors]
    weights = [weight_of(vector, 8, 6) for vector in vectors]
    dropped = GlobalMagnitude().drop_all(weights, fractions, [RandomKey(0)] * 4)
    assert [gone.tolist() for gone in dropped] == literal([v.tolist() for v in vectors], fractions)


def test_a_weight_of_small_values_may_lose_everything(weight_of):
    small, large = weight_of(torch.full((10,), 0.1), 5, 5), weight_of(torch.ones(20), 5, 5)
    dropped = GlobalMagnitude().drop_all([small, large], [0.5, 0.5], [RandomKey(0)] * 2)
    assert [int(gone.sum()) for gone in dropped] == [10, 5]


def test_one_weight_alone_is_cut_by_magnitude(weight):
    keys = [RandomKey(0)]
    (dropped,) = GlobalMagnitude().drop_all([weight], [0.4], keys)
    assert torch.equal(dropped, Magnitude().drop(weight, 0.4, keys[0]))
    assert torch.equal(dropped, GlobalMagnitude().drop(weight, 0.4, keys[0]))


def test_a_model_of_frozen_weights_is_left_alone(weight_of):
    weight = weight_of(torch.randn(10), 5, 5).requires_grad_(False)
    Dynamic(weight, None, prune=GlobalMagnitude(), grow=Uniform(), every=1).step()
    assert weight.topology_version == 0


def test_nan_is_named(with_nan, weight_of):
    with pytest.raises(ValueError, match="NaN at link 4"):
        GlobalMagnitude().drop_all(
            [weight_of(torch.randn(7), 5, 5), with_nan], [0.3, 0.3], [RandomKey(0)] * 2
        )
