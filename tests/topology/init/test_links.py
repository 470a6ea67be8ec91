"""Wirings: exact counts, valid links, what they follow from, and how many each weight gets."""

import networkx as nx
import numpy as np
import pytest
import scipy.sparse
import torch
from hypothesis import given
from hypothesis import strategies as st
from testing import awkward_patterns, random_pattern, refusals

from sparse_engine.convert import write_edge_list
from sparse_engine.nn import SparseWeight
from sparse_engine.ops import Pattern, RandomKey
from sparse_engine.topology import (
    BarabasiAlbert,
    ConstantFanIn,
    Dale,
    EqualDensity,
    ErdosRenyi,
    ERKDensity,
    ExponentialDistance,
    FromGraph,
    RandomSigns,
    ReceptiveField,
    StochasticBlockModel,
    WattsStrogatz,
    Wiring,
    links_at,
)
from sparse_engine.topology.links import sample_groups

PLACES = np.random.default_rng(0).random((60, 2))


def near(rows=PLACES, columns=PLACES, *, scale=0.1, density=0.1, candidates=None):
    return ExponentialDistance(rows, columns, scale=scale, density=density, candidates=candidates)


# name: wiring, shape, number of links
RANDOM = {
    "density": (ErdosRenyi(density=0.1), (30, 40), 120),
    "epsilon": (ErdosRenyi(epsilon=3), (30, 40), 210),
    "epsilon, all": (ErdosRenyi(epsilon=30), (30, 40), 1200),
    "nnz": (ErdosRenyi(nnz=77), (30, 40), 77),
    "fan-in": (ConstantFanIn(7), (30, 40), 210),
    "fan-in, dense": (ConstantFanIn(density=0.98), (30, 40), 30 * 39),
    "small world": (WattsStrogatz(6, 0.3), (40, 40), 240),
    "small world, odd": (WattsStrogatz(7, 0.3), (40, 40), 280),
    "small world, wide": (WattsStrogatz(5, 0.5), (30, 40), 150),
    "small world, tall": (WattsStrogatz(5, 0.9), (40, 10), 200),
    "scale-free": (BarabasiAlbert(4), (50, 50), 200),
    "scale-free, smallest": (BarabasiAlbert(10), (21, 21), 210),
    "scale-free, wide": (BarabasiAlbert(3), (6, 70), 228),
    "scale-free, tall": (BarabasiAlbert(3), (70, 9), 237),
    "blocks": (StochasticBlockModel.modular(3, within=0.5, between=0.01), (30, 30), 156),
    "blocks, uneven": (StochasticBlockModel([[0.9, 0.1]], column_sizes=[10, 30]), (7, 40), 63 + 21),
    "receptive field": (ReceptiveField(0.13, 0.4), (31, 40), 161),
    "distance": (near(PLACES, PLACES[:50]), (60, 50), 300),
    "distance, candidates": (near(PLACES, PLACES[:50], candidates=9), (60, 50), 300),
}


@pytest.mark.parametrize("name", RANDOM)
def test_counts_are_exact_and_links_valid(name):
    wiring, shape, nnz = RANDOM[name]
    for seed in range(5):
        links = wiring.links(*shape, RandomKey(seed))
        assert links.nnz == nnz
        assert links.in_features == shape[1]
        assert links.crow.dtype == torch.int64 and links.col.dtype == torch.int32
        Pattern.from_csr(links.crow, links.col, shape)


@pytest.mark.parametrize("name", [name for name in RANDOM if name != "epsilon, all"])
def test_links_follow_from_the_whole_key_and_from_nothing_else(name, threads):
    wiring, shape, _ = RANDOM[name]
    keys = [RandomKey(1, 2, 3), RandomKey(-1, 2, 3), RandomKey(1, 3, 3), RandomKey(1, 2, 4)]
    positions = [tuple(wiring.links(*shape, key).positions().tolist()) for key in keys]
    # The smallest scale-free graph is complete: only the directions of its links are random.
    assert len(set(positions)) == 4
    threads(2)
    torch.manual_seed(99)
    np.random.seed(99)  # noqa: NPY002
    with torch.device("meta"):
        assert tuple(wiring.links(*shape, keys[0]).positions().tolist()) == positions[0]
    assert tuple(wiring.links(*shape, keys[0]).positions().tolist()) == positions[0]


EXTREMES = [
    (ErdosRenyi(nnz=0), (5, 9), 0),
    (ErdosRenyi(density=1.0), (1, 1), 1),
    (ConstantFanIn(0), (5, 9), 0),
    (ConstantFanIn(9), (5, 9), 45),
    (ConstantFanIn(1), (1, 1), 1),
    (WattsStrogatz(1, 0.0), (5, 1), 5),
    (WattsStrogatz(4, 0.0), (5, 5), 20),
    (BarabasiAlbert(1), (3, 3), 3),
    (BarabasiAlbert(1), (2, 3), 5),
    (StochasticBlockModel([[1.0]]), (5, 9), 45),
    (StochasticBlockModel([[0.0]]), (5, 9), 0),
    (StochasticBlockModel([[0.5, 1.0]], column_sizes=[0, 3]), (4, 3), 12),
    (WattsStrogatz(5, 1.0), (40, 10), 200),
    (StochasticBlockModel.modular(7, within=1.0, between=0.0), (3, 2), 1),
    (ReceptiveField(1.0, 0.0), (5, 9), 45),
    (ReceptiveField(1e-3, 0.5), (5, 9), 0),
    (ReceptiveField(1.0, 0.5), (1, 1), 1),
    (ReceptiveField(0.98, 1e-300), (50, 10), 490),
    (near(scale=1e-6, density=1.0), (60, 60), 3600),
    (near(scale=1e6, density=1e-4), (60, 60), 0),
    (near(candidates=6), (60, 60), 360),
    (near(PLACES[:1], PLACES[:1], density=1.0, candidates=5), (1, 1), 1),
]


@pytest.mark.parametrize(("wiring", "shape", "nnz"), EXTREMES, ids=lambda x: str(x)[:40])
def test_extremes(wiring, shape, nnz):
    links = wiring.links(*shape, RandomKey(0))
    assert links.nnz == nnz
    Pattern.from_csr(links.crow, links.col, shape)


@given(data=st.data())
def test_random_shapes(data):
    rows, cols = data.draw(st.integers(1, 30)), data.draw(st.integers(1, 30))
    share = data.draw(st.sampled_from([0.001, 0.1, 0.5, 0.98, 1.0]))
    nnz = round(share * rows * cols)
    exact = [
        (ErdosRenyi(density=share), nnz),
        (ReceptiveField(share, data.draw(st.floats(0, 1))), nnz),
        (ConstantFanIn(density=share), rows * round(share * cols)),
        (near(PLACES[:rows], PLACES[-cols:], scale=0.2, density=share), nnz),
    ]
    for wiring, expected in exact:
        links = wiring.links(rows, cols, RandomKey(data.draw(st.integers(-(2**63), 2**63 - 1))))
        assert links.nnz == expected
        Pattern.from_csr(links.crow, links.col, (rows, cols))


class Diagonal(Wiring):
    def links(self, out_features, in_features, key):
        unit = torch.arange(min(out_features, in_features)).flip(0)
        return links_at(unit * in_features + unit, out_features, in_features)


def test_a_wiring_of_ones_own():
    links = Diagonal().links(3, 5, RandomKey(0))
    assert links.crow.tolist() == [0, 1, 2, 3] and links.col.tolist() == [0, 1, 2]


test_wrong_cells_are_refused = refusals(
    (r"in \[0, 15\), found 7 at position 2", lambda: links_at(torch.tensor([7, 3, 7]), 3, 5)),
    (r"in \[0, 15\), found 15 at position 1", lambda: links_at(torch.tensor([15, 3]), 3, 5)),
)


@pytest.mark.parametrize("name", awkward_patterns())
def test_from_graph_takes_every_form(name, tmp_path):
    pattern = awkward_patterns()[name]
    shape = pattern.shape
    weight = SparseWeight(torch.ones(pattern.nnz), pattern)
    positions = pattern.links.positions()
    places = np.divmod(positions.numpy(), shape[1])
    matrix = scipy.sparse.coo_array((np.ones(pattern.nnz), places), shape)
    path = tmp_path / "graph.csv"
    write_edge_list(weight, path)
    for graph in (weight, matrix, matrix.tocsc(), path, str(path)):
        links = FromGraph(graph).links(*shape, RandomKey(0))
        assert torch.equal(links.positions(), positions)
        assert links.in_features == shape[1]
    links = FromGraph(weight).links(*shape, RandomKey(0))
    assert links.crow.data_ptr() != weight.crow_indices.data_ptr()


def test_from_graph_takes_networkx():
    graph = nx.DiGraph([("a", "b"), ("b", "c"), ("a", "c")])
    links = FromGraph(graph).links(3, 3, RandomKey(0))
    # An edge from a unit to another is in the row of the other.
    assert links.positions().tolist() == [3, 6, 7]


def wired(wiring, *shape):
    return lambda: wiring.links(*shape, RandomKey(0))


test_what_cannot_be_wired_so_is_refused = refusals(
    ("between 0 and 20 absent cells, found 21", wired(ErdosRenyi(nnz=21), 4, 5)),
    ("out_features of at least 0, found -1", wired(ErdosRenyi(nnz=0), -1, 5)),
    ("fan_in of at most 5, found 6", wired(ConstantFanIn(6), 4, 5)),
    ("neighbours of at most 4 in a 5 x 5", wired(WattsStrogatz(5, 0.0), 5, 5)),
    ("neighbours of at most 2 in a 5 x 5", wired(WattsStrogatz(3, 0.1), 5, 5)),
    ("neighbours of at most 2 in a 9 x 5", wired(WattsStrogatz(3, 0.1), 9, 5)),
    ("at least 5 rows .* for attached=2, found 4 x 4", wired(BarabasiAlbert(2), 4, 4)),
    ("at least 4 rows .* for attached=2, found 9 x 3", wired(BarabasiAlbert(2), 9, 3)),
    ("row_sizes that sum to 4, found 3", wired(StochasticBlockModel([[1.0]], row_sizes=[3]), 4, 5)),
    ("a 60 x 60 weight for these positions", wired(near(), 60, 50)),
    ("at most 300 links .* found 360", wired(near(candidates=5), 60, 60)),
    (r"of shape \(4, 5\), found \(4, 4\)", wired(FromGraph(scipy.sparse.eye_array(4)), 4, 5)),
    ("SciPy sparse array or matrix, found ndarray", wired(FromGraph(np.eye(4)), 4, 4)),
    (r"networkx.DiGraph, found Graph", wired(FromGraph(nx.path_graph(4)), 4, 4)),
    error=(ValueError, TypeError),
)

sizes = st.integers(0, 60)
shapes = st.lists(st.tuples(sizes, sizes), max_size=8)
densities = st.sampled_from([0.001, 0.05, 0.3, 0.9, 0.98, 1.0])


@given(shapes=shapes, density=densities, rule=st.sampled_from([ERKDensity, EqualDensity]))
def test_totals_are_exact_and_no_weight_overflows(shapes, density, rule):
    positions = [a * b for a, b in shapes]
    counts = rule(density).counts(shapes)
    assert all(type(count) is int for count in counts)
    assert sum(counts) == round(density * sum(positions))
    assert all(0 <= count <= size for count, size in zip(counts, positions, strict=True))


def literal_erk(shapes, density):
    """RigL's loop: weights whose probability exceeds 1 become dense, epsilon is solved anew."""
    dense = set()
    while True:
        left = density * sum(a * b for a, b in shapes) - sum(np.prod(shapes[i]) for i in dense)
        epsilon = left / sum(sum(shapes[i]) for i in range(len(shapes)) if i not in dense)
        raw = [epsilon * sum(shape) / np.prod(shape) for shape in shapes]
        over = [i for i, p in enumerate(raw) if p > 1 and i not in dense]
        if not over:
            return [1.0 if i in dense else p for i, p in enumerate(raw)]
        dense.update(over)


SHAPES = [(300, 784), (100, 300), (10, 100), (4, 9)]


@pytest.mark.parametrize("density", [0.01, 0.05, 0.2, 0.6, 0.95])
def test_erk_is_the_literal_rule(density):
    counts = ERKDensity(density).counts(SHAPES)
    for count, p, shape in zip(counts, literal_erk(SHAPES, density), SHAPES, strict=True):
        assert abs(count - p * np.prod(shape)) < 1


def test_erk_makes_small_weights_dense():
    assert ERKDensity(0.2).counts(SHAPES)[3] == 36
    assert ERKDensity(0.05).counts([(1000, 1000), (1000, 10)])[1] > 0.2 * 10_000


def test_equal_density_is_equal_to_one_link():
    counts = EqualDensity(0.123).counts(SHAPES)
    for count, (a, b) in zip(counts, SHAPES, strict=True):
        assert abs(count - 0.123 * a * b) < 1


@given(data=st.data())
def test_samples_are_distinct_and_within_their_group(data):
    sizes = data.draw(st.lists(st.sampled_from([0, 1, 2, 7, 40]), max_size=12))
    counts = [data.draw(st.integers(0, size)) for size in sizes]
    groups, numbers = sample_groups(counts, sizes, np.random.default_rng(0))
    assert np.bincount(groups, minlength=len(sizes)).tolist() == counts
    for group, size in enumerate(sizes):
        mine = numbers[groups == group]
        assert (np.diff(mine) > 0).all()
        assert ((mine >= 0) & (mine < size)).all()


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_every_subset_is_equally_likely(count):
    trials = 20_000
    rng = np.random.default_rng(1)
    _, numbers = sample_groups(np.full(trials, count), np.full(trials, 6), rng)
    codes = (1 << numbers.reshape(trials, count)).sum(1)
    seen = np.unique(codes, return_counts=True)[1]
    subsets = {1: 6, 2: 15, 3: 20, 4: 15, 5: 6}[count]
    assert len(seen) == subsets
    expected = trials / subsets
    # At most 19 degrees of freedom: below 50 in 99.99 % of cases.
    assert ((seen - expected) ** 2 / expected).sum() < 50


PATTERNS = awkward_patterns()


@pytest.mark.parametrize("name", PATTERNS)
@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 1.0])
def test_random_signs_are_exact(name, share):
    links = PATTERNS[name].links
    signs = RandomSigns(share).signs(links, RandomKey(3))
    assert signs.shape == (links.nnz,)
    assert (signs == 1).sum() == round(share * links.nnz)
    assert (signs == -1).sum() == links.nnz - round(share * links.nnz)


@pytest.mark.parametrize("share", [0.0, 0.37, 0.8, 1.0])
def test_dale_gives_every_column_one_sign(share):
    links = random_pattern(60, 50, 60 * 50).links
    matrix = Dale(share).signs(links, RandomKey(3)).reshape(60, 50)
    assert (matrix == matrix[0]).all()
    assert (matrix[0] == 1).sum() == round(share * 50)
    assert (matrix[0] == -1).sum() == 50 - round(share * 50)


def test_dale_gives_a_unit_one_sign_in_all_weights():
    one, other = random_pattern(60, 50, 900).links, random_pattern(7, 50, 350).links
    dense = Dale().signs(other, RandomKey(1, 0, 4)).reshape(7, 50)
    assert torch.equal(Dale().signs(one, RandomKey(1, 0, 3)), dense[0, one.col.long()])
    assert not torch.equal(Dale().signs(other, RandomKey(2)).reshape(7, 50)[0], dense[0])
