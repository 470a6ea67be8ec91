"""Backend for networkx: results equal to networkx's own, whose tests run on it."""

import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import networkx as nx
import pytest

from sparse_engine.networkx import FUNCTIONS, backend, get_info

SITE = Path(nx.__file__).parent.parent
ENTRY_POINTS = """[networkx.backends]
sparse_engine = sparse_engine.networkx.backend
[networkx.backend_info]
sparse_engine = sparse_engine.networkx:get_info
"""
DIRECTED = {
    "random": nx.gnp_random_graph(60, 0.1, seed=1, directed=True),
    "dense": nx.gnp_random_graph(20, 0.8, seed=2, directed=True),
    "loops": nx.DiGraph([(0, 0), (0, 1), (1, 0), (2, 1), (3, 3)]),
    "loops alone": nx.DiGraph([(0, 0), (1, 1)]),
    "names": nx.DiGraph([("b", "a"), ("a", ("c", 1)), (("c", 1), "b"), ("b", "d")]),
    "two nodes": nx.DiGraph([(0, 1)]),
    "view": nx.gnp_random_graph(30, 0.2, seed=3, directed=True).subgraph(range(5, 25)),
    "reverse": nx.gnp_random_graph(30, 0.2, seed=4, directed=True).reverse(copy=False),
    "no edges": nx.empty_graph(5, nx.DiGraph),
    "no nodes": nx.DiGraph(),
}
UNDIRECTED = {
    "random": nx.gnp_random_graph(60, 0.1, seed=1),
    "complete": nx.complete_graph(7),
    "loops": nx.Graph([(0, 0), (0, 1), (1, 2), (2, 0), (2, 2), (2, 3)]),
    "tree": nx.balanced_tree(2, 3),
    "view": nx.gnp_random_graph(30, 0.3, seed=3).subgraph(range(5, 25)),
    "no edges": nx.empty_graph(5),
    "no nodes": nx.Graph(),
}


def outcome(function, *arguments, **keywords):
    try:
        return function(*arguments, **keywords)
    except (nx.NetworkXException, ValueError) as error:
        return type(error)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_results_are_those_of_networkx(name):
    ours, theirs = getattr(backend, name), getattr(nx, name)
    graphs = DIRECTED if name in backend.DIRECTED else UNDIRECTED
    for kind, graph in graphs.items():
        found = outcome(ours, backend.convert_from_nx(graph))
        assert found == outcome(theirs, graph, backend="networkx"), kind
    other = UNDIRECTED if name in backend.DIRECTED else DIRECTED
    with pytest.raises(nx.NetworkXNotImplemented):
        ours(backend.convert_from_nx(other["random"]))


@pytest.mark.parametrize("graph", [*DIRECTED.values(), *UNDIRECTED.values()])
def test_a_graph_is_converted_and_back(graph):
    again = backend.convert_to_nx(backend.convert_from_nx(graph))
    assert again.is_directed() == graph.is_directed()
    assert list(again) == list(graph) and nx.utils.edges_equal(
        again.edges(), graph.edges(), directed=graph.is_directed()
    )


@pytest.mark.parametrize(
    ("name", "graph", "keywords"),
    [
        ("triadic_census", DIRECTED["random"], {"nodelist": [1, 2]}),
        ("reciprocity", DIRECTED["random"], {"nodes": 1}),
        ("triadic_census", UNDIRECTED["random"], {}),
        ("transitivity", DIRECTED["random"], {}),
        ("transitivity", nx.MultiGraph([(0, 1), (0, 1)]), {}),
        ("overall_reciprocity", nx.MultiDiGraph([(0, 1), (0, 1)]), {}),
    ],
)
def test_what_networkx_alone_can_do_is_left_to_it(name, graph, keywords):
    for arguments, named in (((graph,), keywords), ((), {"G": graph, **keywords})):
        assert backend.can_run(name, arguments, named) is not True
    assert backend.can_run(name, (graph, *keywords.values()), {}) is not True


def test_networkx_is_told_of_every_function():
    assert get_info()["functions"].keys() == FUNCTIONS.keys()
    assert all(callable(getattr(backend, name)) for name in FUNCTIONS)
    small, large = DIRECTED["two nodes"], DIRECTED["random"]
    assert backend.should_run("triadic_census", (large,), {}) is True
    assert backend.should_run("triadic_census", (small,), {}) is not True


@pytest.fixture(scope="module")
def registered(tmp_path_factory):
    """Environment in which networkx finds the backend, if the installation is older than that."""
    folder = tmp_path_factory.mktemp("registered")
    if "sparse_engine" not in metadata.entry_points(group="networkx.backends").names:
        info = folder / "sparse_engine_backend-0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Name: sparse_engine_backend\nVersion: 0\n")
        (info / "entry_points.txt").write_text(ENTRY_POINTS)
    path = os.pathsep.join([str(folder), str(Path(__file__).parents[1])])
    return os.environ | {"PYTHONPATH": path}


SCRIPT = """
import sys
import networkx as nx
assert not {"torch", "sparse_engine.networkx.backend"} & sys.modules.keys()
graph = nx.gnp_random_graph(40, 0.2, seed=0, directed=True)
ours = nx.triadic_census(graph, backend="sparse_engine")
assert "sparse_engine.networkx.backend" in sys.modules
assert ours == nx.triadic_census(graph, backend="networkx")
try:
    nx.pagerank(graph, backend="sparse_engine")
except NotImplementedError:
    pass
else:
    sys.exit("pagerank is not ours")

# With the backend first, a graph is changed in place, and counted anew afterwards.
theirs = nx.directed_edge_swap(graph.copy(), nswap=50, max_tries=5000, seed=1)
nx.config.backend_priority = ["sparse_engine"]
before = nx.triadic_census(graph)
assert nx.directed_edge_swap(graph, nswap=50, max_tries=5000, seed=1) is graph
after = nx.triadic_census(graph)
nx.config.backend_priority = []
assert [*graph.edges] == [*theirs.edges]
assert before != after == nx.triadic_census(theirs)
"""


def test_networkx_dispatches_imports_nothing_before_and_the_page_runs(registered):
    text = (Path(__file__).parents[1] / "docs" / "networkx.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    command = [sys.executable, "-c", SCRIPT + "".join(blocks)]
    done = subprocess.run(command, env=registered, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.exhaustive
def test_the_tests_of_networkx_pass(registered, tmp_path):
    modules = [f"networkx.algorithms.tests.test_{name}" for name in ("triads", "reciprocity")]
    command = [
        sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull,
        f"--rootdir={SITE}", "--pyargs", *modules, "networkx.algorithms.tests.test_cluster",
    ]  # fmt: skip
    environment = registered | {
        "NETWORKX_TEST_BACKEND": "sparse_engine",
        "NETWORKX_FALLBACK_TO_NX": "True",
    }
    done = subprocess.run(
        command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:]
    assert " passed" in done.stdout and " failed" not in done.stdout
