"""Balance, participation and census against a literal reading of every triple of nodes."""

from itertools import combinations, permutations, product

import networkx as nx
import numpy as np
import pytest
from analysis.graphs import graph, signed_digraphs
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import coo_array, csr_array
from sparse_engine.analysis._triads import CODES, Graph
from testing import refusals

from sparse_engine import convert
from sparse_engine.analysis import (
    feed_forward_loops,
    null_model,
    participation,
    signed_triad_census,
    structural_balance,
    triad_census,
)
from sparse_engine.analysis.motifs import LINKS

CLASSES = ("030T", "120D", "120U", "300")
PATTERNS = ["".join(signs) for signs in product("+-", repeat=3)]
EVERY_TYPE = list(signed_triad_census(coo_array((0, 0))))


def links_of(w):
    """Values by source and target, without self-loops."""
    coo = w.tocoo()
    entries = zip(coo.col.tolist(), coo.row.tolist(), coo.data.tolist(), strict=True)
    return {(source, target): value for source, target, value in entries if source != target}


def digraph_of(w):
    graph = nx.DiGraph()
    graph.add_nodes_from(range(w.shape[0]))
    graph.add_edges_from(links_of(w))
    return graph


def semicycles_of(w):
    """Every transitive semicycle: its three nodes, their class, its links, its balance."""
    links, graph = links_of(w), digraph_of(w)
    for triple in combinations(range(w.shape[0]), 3):
        found = []
        for first, second, third in permutations(triple):
            cycle = ((first, second), (second, third), (first, third))
            if all(link in links for link in cycle):
                found.append((cycle, bool(np.prod([links[link] for link in cycle]) > 0)))
        if found:
            (name,) = (k for k, v in nx.triadic_census(graph.subgraph(triple)).items() if v)
            yield from ((triple, name, cycle, balanced) for cycle, balanced in found)


@settings(max_examples=100)
@given(signed_digraphs())
def test_balance(w):
    found = list(semicycles_of(w))
    inside = [cycle for cycle in found if cycle[1] in CLASSES]
    counts = {
        name: (
            sum(balanced for _, n, _, balanced in inside if n == name),
            sum(n == name for _, n, _, _ in inside),
        )
        for name in CLASSES
    }
    by_triple = {}
    for triple, _, _, balanced in inside:
        by_triple.setdefault(triple, []).append(balanced)
    whole = sum(map(all, by_triple.values()))

    report = structural_balance(w)
    assert report.classes == counts
    assert report.transitive == (sum(b for *_, b in found), len(found))
    assert report.triads == (whole, len(by_triple))
    if not inside:
        assert np.isnan([report.class_mean, report.pooled, report.triad_level]).all()
        assert report.to_dict()["pooled"] is None
        return
    assert report.pooled == sum(b for *_, b in inside) / len(inside)
    assert report.triad_level == whole / len(by_triple)
    ratios = [balanced / total for balanced, total in counts.values() if total]
    assert report.class_mean == pytest.approx(np.mean(ratios), rel=1e-12)
    published = structural_balance(w, skip_unbalanced_classes=True).class_mean
    ratios = [ratio for ratio in ratios if ratio]
    assert published == pytest.approx(np.mean(ratios) if ratios else np.nan, nan_ok=True)


@settings(max_examples=50)
@given(signed_digraphs(), st.booleans())
def test_participation(w, every_class):
    n = w.shape[0]
    links, nodes = np.zeros((n, n, 2), np.int64), np.zeros((n, 2), np.int64)
    for triple, name, cycle, balanced in semicycles_of(w):
        if every_class or name in CLASSES:
            for source, target in cycle:
                links[target, source] += balanced, 1
            nodes[list(triple)] += balanced, 1
    found = participation(w, every_class=every_class)
    coo = w.tocoo()
    np.testing.assert_array_equal(found.links, links[coo.row, coo.col])
    np.testing.assert_array_equal(found.nodes, nodes)


@settings(max_examples=100)
@given(signed_digraphs())
def test_census(w):
    assert triad_census(w) == nx.triadic_census(digraph_of(w))


def signed_type_of(links, triple, name):
    """The name of a triple's type: the first of all readings of its class's links."""
    readings = []
    for nodes in permutations(triple):
        place = dict(zip("abc", nodes, strict=True))
        found = [(place[source], place[target]) for source, target in LINKS[name]]
        if all(link in links for link in found):
            signs = ("+" if links[link] > 0 else "-" if links[link] < 0 else "0" for link in found)
            readings.append("".join(signs))
    signs = min(readings, key=lambda signs: ["+-0".index(sign) for sign in signs])
    return f"{name}:{signs}" if signs else name


@settings(max_examples=60)
@given(signed_digraphs())
def test_signed_census(w):
    links, graph = links_of(w), digraph_of(w)
    expected = dict.fromkeys(EVERY_TYPE, 0)
    for triple in combinations(range(w.shape[0]), 3):
        (name,) = (k for k, v in nx.triadic_census(graph.subgraph(triple)).items() if v)
        found = signed_type_of(links, triple, name)
        expected[found] = expected.get(found, 0) + 1
    assert signed_triad_census(w) == expected
    assert feed_forward_loops(w) == {
        name.removeprefix("030T:"): count
        for name, count in expected.items()
        if name.startswith("030T:")
    }


def test_names_of_the_types():
    """Burnside's lemma, for links that are absent, positive or negative, or never absent."""
    assert len(EVERY_TYPE) == (3**6 + 3 * 3**3 + 2 * 3**2) // 6 == 138
    closed = [name for name in EVERY_TYPE if name[:3] in ("030", "120", "210", "300")]
    assert len(closed) == (8**3 + 3 * 2 * 8 + 2 * 8) // 6 == 96
    mutual_two = {name for name in EVERY_TYPE if name.startswith("102")}
    assert mutual_two == {"102:++", "102:+-", "102:--"}


def test_order_of_the_signs_of_a_feed_forward_loop():
    """Source to mediator, mediator to target, source to target."""
    w = coo_array(([1.0, -1.0, -1.0], ([1, 2, 2], [0, 1, 0])), shape=(3, 3))
    assert feed_forward_loops(w)["+--"] == 1
    w = coo_array(([1.0, -1.0, 1.0], ([1, 2, 2], [0, 1, 0])), shape=(3, 3))
    assert feed_forward_loops(w) == {**dict.fromkeys(PATTERNS, 0), "+-+": 1}


@pytest.mark.parametrize("n", [0, 1, 2, 5])
def test_graphs_without_links(n):
    w = coo_array((n, n)).tocsr()
    report = structural_balance(w)
    assert report.classes == dict.fromkeys(CLASSES, (0, 0))
    assert participation(w).links.shape == (0, 2) and not participation(w).nodes.any()
    census = triad_census(w)
    assert census.pop("003") == n * (n - 1) * (n - 2) // 6
    assert not any(census.values())
    assert np.isnan(null_model(w, n=2).z_scores["pooled"])
    assert not any(count for name, count in signed_triad_census(w).items() if name != "003")


def test_unsorted_rows_are_read():
    w = graph(30, 0.3, 1)
    unsorted = w.copy()
    for row in range(30):
        part = slice(w.indptr[row], w.indptr[row + 1])
        unsorted.indices[part], unsorted.data[part] = w.indices[part][::-1], w.data[part][::-1]
    assert signed_triad_census(unsorted) == signed_triad_census(w)


@pytest.mark.parametrize(("indices", "message"), [([1, 1], "twice|unique|found"), ([0, 5], "5")])
def test_refuses_a_wrong_csr(indices, message):
    w = csr_array((np.ones(2), np.array([0, 1]), np.array([0, 2, 2])), shape=(2, 2))
    w.indices = np.array(indices)
    with pytest.raises(ValueError, match=message):
        triad_census(w)


def test_every_form_of_a_graph(tmp_path):
    w = graph(30, 0.3, 1)
    weight = convert.from_scipy(w)
    path = tmp_path / "edges.csv"
    convert.write_edge_list(weight, path)
    expected = structural_balance(w)
    assert sum(total for _, total in expected.classes.values()) > 100
    forms = (
        weight, w.tocoo(), w.tocsc(), weight.to_torch_csr(), convert.to_networkx(weight), path,
        str(path),
    )  # fmt: skip
    for form in forms:
        assert structural_balance(form) == expected


PTR, IDX, STATES = (
    np.array([0, 2, 3, 4]), np.array([1, 2, 2, 0], np.int32), np.array([1, 2, 1, 1], np.uint8)
)  # fmt: skip


test_native_code_takes_no_other_arrays = refusals(
    (r"int32 with 1 dimensions, found int64 \(4,\)", lambda: Graph(PTR, PTR, STATES)),
    (r"int64 with 1 dimensions, found int32 \(4,\)", lambda: Graph(IDX, IDX, STATES)),
    (r"int64 with 1 dimensions, found int64 \(1, 4\)", lambda: Graph(PTR[None], IDX, STATES)),
    ("contiguous", lambda: Graph(PTR, np.repeat(IDX, 2)[::2], STATES)),
    ("uint8 with 1 dimensions, found list", lambda: Graph(PTR, IDX, [1, 2, 1, 1])),
)


def test_a_graph_keeps_its_arrays():
    """The arrays that a graph reads live as long as it does."""
    graph = Graph(PTR.copy(), IDX.copy(), STATES.copy())
    first = graph.count(1)
    trash = [np.full(4, 7, np.int32) for _ in range(1000)]
    np.testing.assert_array_equal(graph.count(1), first)
    assert first.shape == (CODES,) and first.sum() == 1 and len(trash) == 1000
