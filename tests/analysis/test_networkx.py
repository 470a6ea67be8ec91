"""NetworkX's own tests of what has a counterpart here, with ours in its place."""

import importlib
import inspect
import math

import networkx as nx
import pytest

from sparse_engine.analysis import reciprocity, small_world, triad_census


def transitivity(graph):
    """Return networkx's, which is 0 and not nan where there are no triads."""
    found = small_world(graph.to_directed()).clustering
    return 0 if math.isnan(found) else found


#: What is put in place of a function of NetworkX, and the module of its tests.
OURS = {
    "triadic_census": (triad_census, "test_triads"),
    "overall_reciprocity": (reciprocity, "test_reciprocity"),
    "reciprocity": (reciprocity, "test_reciprocity"),
    "transitivity": (transitivity, "test_cluster"),
}
#: What we refuse by design, and whose tests do not run.
REFUSED = {
    "nodelist": "a census is that of all nodes",
    "random_graph": "it asks for the census of some nodes, too",
    "reciprocity_graph": "reciprocity is that of the whole graph",
    "empty_graph": "a figure of nothing is nan, and no error",
}


def functions_of(name):
    """Yield NetworkX's tests of one of its functions by name, those of classes among them."""
    module = importlib.import_module(f"networkx.algorithms.tests.{OURS[name][1]}")
    classes = [(c, c.__name__) for _, c in inspect.getmembers(module, inspect.isclass)]
    for owner, prefix in [(module, ""), *classes]:
        for test, function in inspect.getmembers(owner, inspect.isfunction):
            mentions = test.startswith("test") and f"nx.{name}(" in inspect.getsource(function)
            if mentions and not any(part in test for part in REFUSED):
                run = function if owner is module else lambda f=function, c=owner: f(c())
                yield pytest.param(name, run, id=f"{name}, {prefix}{test}")


@pytest.mark.parametrize(("name", "run"), [each for name in OURS for each in functions_of(name)])
def test_networkx(name, run, monkeypatch):
    calls = []

    def ours(graph):
        calls.append(graph)
        return OURS[name][0](graph)

    monkeypatch.setattr(nx, name, ours)
    run()
    assert calls


@pytest.mark.parametrize("name", ["triadic_census", "reciprocity", "transitivity"])
def test_there_are_such_tests(name):
    assert [*functions_of(name)]
