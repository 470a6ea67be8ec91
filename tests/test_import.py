"""``import sparse_engine`` gives every subpackage, and imports none before it is used."""

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import networkx as nx
import pytest

import sparse_engine

PACKAGE = Path(sparse_engine.__file__).parent
LIBRARY = sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))
LAB = ["experiments", "networks", "plot", "tasks", "train", "watch"]


@pytest.mark.parametrize("name", [*LIBRARY, *(f"lab.{name}" for name in LAB)])
def test_a_subpackage_is_an_attribute(name):
    parent, _, own = f"sparse_engine.{name}".rpartition(".")
    found = importlib.import_module(parent).__getattr__(own)
    assert found is importlib.import_module(f"{parent}.{own}")
    assert own in dir(importlib.import_module(parent))


def test_the_library_does_not_import_the_lab():
    """But for the command, whose main module starts the lab's."""
    files = [path for path in PACKAGE.rglob("*.py") if "lab" not in path.parts]
    imported = {
        (str(path.relative_to(PACKAGE)), name)
        for path in files
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in [getattr(node, "module", None) or "", *(each.name for each in node.names)]
        if name.startswith("sparse_engine.lab")
    }
    assert {path for path, _ in imported} <= {"__main__.py"}


def test_private_names_of_torch_stand_in_one_file():
    private = re.compile(
        r"torch(\.\w+)*\._[a-z]|\bforward_ad\._|from torch\.[\w.]*\._|_global_forward"
    )
    files = [path for path in PACKAGE.rglob("*.py") if path.name != "private.py"]
    found = [str(path) for path in files if private.search(path.read_text())]
    assert not found


def test_no_modules_import_each_other_in_a_circle():
    """At the top or within functions; imports for types alone do not count."""
    files = {path.relative_to(PACKAGE.parent): path for path in PACKAGE.rglob("*.py")}
    modules = {
        ".".join(name.with_suffix("").parts).removesuffix(".__init__"): file
        for name, file in files.items()
    }
    graph = nx.DiGraph()
    for module, path in modules.items():
        todo = list(ast.parse(path.read_text()).body)
        while todo:
            node = todo.pop()
            if isinstance(node, ast.ImportFrom):
                names = [f"{node.module}.{each.name}" for each in node.names]
                graph.add_edges_from(
                    (module, name if name in modules else node.module) for name in names
                )
            elif not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
                todo += ast.iter_child_nodes(node)
    circles = [each for each in nx.strongly_connected_components(graph) if len(each) > 1]
    assert not circles


def test_other_names_are_attribute_errors():
    assert not hasattr(sparse_engine, "networks")
    assert {"__version__", "__doc__"} <= {*dir(sparse_engine)}


def test_nothing_is_imported_before_it_is_used():
    script = """
import sys
import sparse_engine
assert not {"torch", "numpy", "scipy", "matplotlib"} & sys.modules.keys()
rnn = sparse_engine.nn.SparseRNN(2, 4, density=0.5)
assert not {"matplotlib", "sparse_engine.topology"} & sys.modules.keys()
import sparse_engine.topology
assert "sparse_engine.analysis" not in sys.modules
import sparse_engine.lab.tasks
assert not {"pooch", "sklearn", "aeon", "reservoirpy"} & sys.modules.keys()
"""
    subprocess.run([sys.executable, "-c", script], check=True)
