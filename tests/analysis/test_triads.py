"""Triads, balance and census against brute force and published networks."""

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

from sparse_engine import analysis, convert
from sparse_engine.analysis import (
    feed_forward_loops,
    null_model,
    participation,
    signed_triad_census,
    structural_balance,
    triad_census,
)
from sparse_engine.analysis.motifs import CONNECTED, LINKS, split

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


# Balanced and unbalanced semicycles by class, class mean, pooled, balanced triads and all, and the
# transitive semicycles of every class.
BALANCE = {
    "mnist_pruning_epoch200": (
        "331/61 38/4 32/2 0/0", "0.896775", "0.856838", (366, 430), (423, 77)
    ),
    "mnist_set_core_epoch200": (
        "126/45 6/4 6/2 0/0", "0.695614", "0.730159", (132, 180), (148, 52)
    ),
    "mackey_glass_set_epoch100": (
        "145/88 6/4 13/5 0/0", "0.648180", "0.628352", (154, 247), (177, 102)
    ),
    "gesture_pruning_epoch200": (
        "126/69 34/8 16/8 6/0", "0.780586", "0.681648", (152, 229), (214, 93)
    ),
    "gesture_ctrnn_deepr_epoch200": (
        "108/83 4/4 8/8 0/0", "0.521815", "0.558140", (112, 203), (130, 98)
    ),
}  # fmt: skip
CENSUS = {
    "mnist_pruning_epoch200": "408902 122947 5556 2913 2871 6367 559 572 392 127 26 21 17 29 1 0",
    "mnist_set_core_epoch200": "434728 105167 2133 2140 2177 4340 168 194 171 63 1 5 4 8 1 0",
    "mackey_glass_set_epoch100": "253059 77076 2245 2054 1992 4119 245 247 233 74 2 5 9 15 1 0",
    "gesture_pruning_epoch200": "258022 71606 3692 1597 2067 3319 426 311 195 59 18 21 12 25 5 1",
    "gesture_ctrnn_deepr_epoch200": "251375 79062 2194 2021 2016 3996 221 195 191 76 6 4 8 10 1 0",
}


@pytest.mark.parametrize("name", BALANCE)
def test_balance_of_oracles(name, data):
    classes, class_mean, pooled, triads, transitive = BALANCE[name]
    report = analysis.structural_balance(data / "topologies" / "trained" / f"{name}.csv")
    found = " ".join(f"{b}/{total - b}" for b, total in report.classes.values())
    assert found == classes
    assert f"{report.class_mean:.6f}" == class_mean
    assert f"{report.pooled:.6f}" == pooled
    assert report.triads == triads
    assert report.transitive == (transitive[0], sum(transitive))


@pytest.mark.parametrize("name", CENSUS)
def test_census_of_oracles(name, data):
    census = analysis.triad_census(data / "topologies" / "trained" / f"{name}.csv")
    assert " ".join(map(str, census.values())) == CENSUS[name]


def test_significance(data):
    """The z-scores of 300 shuffles, as far as so few can tell."""
    file = data / "topologies" / "trained" / "mnist_pruning_epoch200.csv"
    model = analysis.null_model(file, n=300)
    assert model.z_scores["pooled"] == pytest.approx(15.8, abs=2)
    assert model.z_scores["class_mean"] == pytest.approx(10.1, abs=2)
    assert model.p_values["pooled"] == 1 / 301
    file = data / "topologies" / "trained" / "gesture_ctrnn_deepr_epoch200.csv"
    assert analysis.null_model(file, n=300).p_values["class_mean"] > 0.1


def motifs_of(file):
    """The frequency, mean, deviation and z-score of each motif in a table of FANMOD.

    A motif has three lines, with the colours of the links out of a node each.
    """
    lines = [line for line in file.read_text().splitlines() if line][::-1]
    lines = lines[: lines.index(",,[Original],[Random],[Random]")][::-1]
    motifs = {}
    for first in range(0, len(lines), 3):
        _, row, *numbers = lines[first].split(",")
        rows = [row, *(line.strip(",") for line in lines[first + 1 : first + 3])]
        colours = np.array([[*map(int, row)] for row in rows]).T
        links = csr_array(np.array([0.0, 1.0, -1.0])[colours])
        (name,) = (name for name, count in analysis.signed_triad_census(links).items() if count)
        motifs[name] = [
            float(number.rstrip("%")) / (100 if "%" in number else 1)
            for number in numbers[:4]
            if number != "undefined"
        ]
    return motifs


@pytest.fixture
def fanmod(data):
    """A network, and what FANMOD counted in it and in 1,000 random ones."""
    file = data / "topologies" / "generated" / "BN_n_150_p_0.05.txt"
    return analysis.read_fanmod(file), motifs_of(file.with_name(f"{file.name}.csv"))


def test_counts_of_fanmod(fanmod):
    network, found = fanmod
    census = analysis.signed_triad_census(network)
    connected = {k: n for k, n in census.items() if n and split(k)[0] in CONNECTED}
    assert sum(connected.values()) == 14_841
    assert {name: round(each[0] * 14_841) for name, each in found.items()} == connected
    assert len(found) == len(connected) == 73


def test_chance_of_fanmod(fanmod):
    """FANMOD keeps the mutual pairs of all nodes together, we those of each."""
    network, found = fanmod
    kind = analysis.DegreePreserving(keep_mutual=True, keep_signs=False)
    model = analysis.null_model(network, kind=kind, n=300)
    loops = {name: each for name, each in found.items() if name.startswith("030T")}
    assert len(loops) == 8
    for name, (_, mean, deviation, z_score) in loops.items():
        drawn = model.samples[name] / 14_841
        assert drawn.mean() == pytest.approx(mean, rel=0.1)
        assert drawn.std() == pytest.approx(deviation, rel=0.2)
        assert model.z_scores[name] == pytest.approx(z_score, abs=0.9)


def test_lines_are_source_target_colour(tmp_path):
    file = tmp_path / "w.txt"
    analysis.write_fanmod(csr_array(np.array([[0, -0.3, 0], [2.5, 0, 0], [1, 0, 0]])), file)
    assert file.read_text() == "0\t1\t1\n0\t2\t1\n1\t0\t2\n"
    found = analysis.read_fanmod(file)
    assert found.shape == (3, 3) and found.dtype == np.float64
    assert found.toarray().tolist() == [[0, -1, 0], [1, 0, 0], [1, 0, 0]]
    w = analysis.signed_network(9, 0.4, self_loops=True, seed=2)
    analysis.write_fanmod(w, file)
    assert (analysis.read_fanmod(file, nodes=9) != w).nnz == 0


def test_published_files_come_back_as_they_are(data, tmp_path):
    files = [*(data / "topologies" / "generated").glob("*_0.[0-9][0-9][0-9].txt")]
    assert len(files) >= 13
    for file in files:
        analysis.write_fanmod(analysis.read_fanmod(file), tmp_path / "w.txt")
        lines = [sorted(path.read_text().split("\n")) for path in (file, tmp_path / "w.txt")]
        assert lines[0] == lines[1]


def test_what_is_no_colour(tmp_path):
    file = tmp_path / "w.txt"
    file.write_text("0\t1\t1\n1\t2\t3\n")
    with pytest.raises(ValueError, match=r"colours 1 and 2 in .*w.txt, found 3"):
        analysis.read_fanmod(file)
    zero = csr_array((np.array([1.0, 0.0]), ([1, 0], [0, 1])), shape=(2, 2))
    with pytest.raises(ValueError, match="positive or negative, found 0 from 1 to 0"):
        analysis.write_fanmod(zero, file)


def test_colours_are_not_taken_for_weights(tmp_path):
    """Read as weights, the colours would make every semicycle balanced."""
    w, file = analysis.signed_network(20, 0.3, seed=1), tmp_path / "w.txt"
    analysis.write_fanmod(w, file)
    with pytest.raises(ValueError, match=r"weights in the third column of .*w.txt, .*fanmod"):
        analysis.structural_balance(file)
    assert analysis.structural_balance(analysis.read_fanmod(file)) == analysis.structural_balance(w)
    assert analysis.structural_balance(w).pooled < 1
    assert analysis.structural_balance(convert.read_edge_list(file)).pooled == 1


@pytest.mark.parametrize(
    "lines",
    ["0\t1\t1\n1\t2\t-2\n", "0\t1\n1\t2\n", "0\t1\t1\n1\t2\t1\n", "0\t1\t1\n1\t2\t2\n1\t0\t3\n"],
)
def test_other_columns_are_weights(tmp_path, lines):
    (tmp_path / "w.txt").write_text(lines)
    analysis.structural_balance(tmp_path / "w.txt")


def test_a_column_that_is_called_weight_is_one(tmp_path):
    (tmp_path / "w.csv").write_text("Id,Source,Target,Weight\n0,0,1,1\n1,1,2,2\n")
    assert analysis.structural_balance(tmp_path / "w.csv").triads == (0, 0)
