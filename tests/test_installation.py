"""What is imported when, what needs another library, and what is said where one is missing.

One fresh interpreter imports torch and is forked for every case, as an import takes two seconds.
"""

import ast
import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import networkx as nx
import pytest

import sparse_engine
from sparse_engine.lab.doctor import BROKEN

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "sparse_engine"
SOURCES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
OPTIONAL = [
    *("networkx", "scipy", "tyro", "tqdm", "matplotlib", "safetensors", "pooch", "sklearn", "aeon"),
    *("reservoirpy", "lightning", "accelerate", "transformers", "skorch", "huggingface_hub"),
    *("tensorboard", "torch_sparse", "h5py", "pandas", "pyarrow"),
]

SCRIPT = """
import contextlib, io, json, os, sys
from importlib import metadata

if os.fork() == 0:  # nothing is imported before it is used
    import sparse_engine
    assert not {"torch", "numpy", "scipy", "matplotlib"} & sys.modules.keys()
    rnn = sparse_engine.nn.SparseRNN(2, 4, density=0.5)
    assert not {"matplotlib", "sparse_engine.topology"} & sys.modules.keys()
    import sparse_engine.topology
    assert "sparse_engine.analysis" not in sys.modules
    import sparse_engine.lab.tasks
    assert not {"pooch", "sklearn", "aeon", "reservoirpy"} & sys.modules.keys()
    os._exit(0)
assert os.wait()[1] == 0
import torch, torch._dynamo  # torch brings networkx for itself

class Without:
    "A finder of modules, but for some."
    def __init__(self, finder, names):
        self.finder, self.names = finder, names
    def __getattr__(self, name):
        return getattr(self.finder, name)
    def find_spec(self, name, path=None, target=None):
        if {name, name.partition(".")[0]} & self.names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name.partition(".")[0])
        return self.finder.find_spec(name, path, target)

def remove(names, known=metadata.version):
    sys.meta_path[:] = [Without(each, names) for each in sys.meta_path]
    for name in [*sys.modules]:
        if {name, name.partition(".")[0]} & (names | {"sparse_engine"}):
            del sys.modules[name]
    def version(name):
        if name in names:
            raise metadata.PackageNotFoundError(name)
        return known(name)
    metadata.version = version

def errors(statements):
    found = {}
    for statement in statements:
        try:
            exec(statement, {"torch": torch})
        except Exception as error:
            found[statement] = str(error) if isinstance(error, ImportError) else repr(error)
    return found

def command(arguments):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            from sparse_engine.__main__ import main
            code = main(arguments)
        except SystemExit as end:
            code = end.code
    return [code, out.getvalue(), err.getvalue()]

for kind, names, given in json.loads(sys.argv[1]):
    read, write = os.pipe()
    if os.fork() == 0:
        os.close(read)
        remove(set(names))
        with open(write, "w") as pipe:
            json.dump({"errors": errors, "command": command}[kind](given), pipe)
        os._exit(0)
    os.close(write)
    with open(read) as pipe:
        print(pipe.read())
    assert os.wait()[1] == 0
"""

SERVING = """
from sparse_engine import nn, topology
model = nn.SparseLSTM(4, 8, density=0.5)
rewiring = topology.SET(model, torch.optim.Adam(model.parameters()), fraction=0.3, every=1)
y, (h, c) = model(torch.randn(5, 2, 4))
y.sum().backward()
rewiring.step()
assert model.weight_hh_l0.topology_version == 1
state = model.state_dict()
nn.SparseLSTM(4, 8, density=0.5).load_state_dict(state)
"""
WORKS = [
    *(f"import sparse_engine.{name}" for name in ("nn", "ops", "topology", "optim", "convert")),
    "import sparse_engine.callbacks, sparse_engine.models",
    "from sparse_engine.models import *",
    "from sparse_engine.convert import from_networkx, from_scipy, read_npz, from_torch",
    SERVING,
]
WEIGHT = "from sparse_engine.nn import SparseWeight as W; w = W.from_dense(torch.ones(3, 3))\n"
NEEDS = [
    ("from sparse_engine.analysis import triad_census", "networkx", "analysis"),
    (f"{WEIGHT}from sparse_engine import convert; convert.to_scipy(w)", "scipy", "analysis"),
    (f"{WEIGHT}from sparse_engine import convert; convert.to_networkx(w)", "networkx", "analysis"),
    ("from sparse_engine import convert; convert.read_npz('no file')", "scipy", "analysis"),
    (
        "from sparse_engine import ops, topology; at = [[0.0]] * 3; "
        "wiring = topology.ExponentialDistance(at, at, scale=1.0, density=0.5); "
        "wiring.links(3, 3, ops.RandomKey(0, 0, 0))",
        "scipy",
        "analysis",
    ),
    ("import sparse_engine.callbacks.tensorboard", "tensorboard", "tensorboard"),
]
#: The libraries of an extra, and packages for which they are enough.
ENOUGH = {
    "analysis": ({"networkx", "scipy", "tqdm"}, ["analysis"]),
    "plot": ({"matplotlib"}, ["lab.plot"]),
    "train": (
        {"networkx", "scipy", "tqdm", "tyro", "safetensors", "pooch"},
        ["analysis", "lab.train", "lab.tasks", "lab.cli"],
    ),
}
BROKEN_BY = {
    "torch": "torch cannot be imported",
    "sparse_engine._C": "the kernels cannot be loaded",
    "sparse_engine.analysis._triads": "analysis._triads cannot be loaded",
}
FEW = ["scipy", "tqdm", "tyro", "safetensors", "pooch", "matplotlib"]


@pytest.fixture(scope="module")
def found():
    """The end of every case by its name."""
    imports = [f"import {name}" for name in SOURCES]
    cases = {
        "none": ("errors", OPTIONAL, [*WORKS, *(each[0] for each in NEEDS), *imports]),
        "few": ("command", FEW, ["info", "--json"]),
        "few, train": ("command", FEW, ["train", "--help"]),
        "torch, train": ("command", ["torch"], ["train", "--help"]),
    }
    for extra, (libraries, names) in ENOUGH.items():
        absent = [name for name in OPTIONAL if name not in libraries]
        cases[extra] = "errors", absent, [f"import sparse_engine.{name}" for name in names]
    for missing in BROKEN_BY:
        cases[missing] = "command", [missing], ["info", "--json"]
    command = [sys.executable, "-c", SCRIPT, json.dumps([*cases.values()])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return dict(zip(cases, map(json.loads, done.stdout.splitlines()), strict=True))


MISSING = "expected the library {}, found none; install it with: pip install 'sparse_engine[{}]'"


def test_serving_needs_torch_alone_and_the_rest_names_its_extra(found):
    errors = found["none"]
    assert not errors.keys() & {*WORKS}
    for statement, library, extra in NEEDS:
        assert errors[statement] == MISSING.format(library, extra)


def test_every_module_imports_or_names_an_extra_that_has_the_library(found):
    """As pyproject.toml says: of an extra or of another that it includes."""
    text = (ROOT / "pyproject.toml").read_text()
    extras = pytest.importorskip("tomllib").loads(text)["project"]["optional-dependencies"]

    def libraries(extra):
        included = [re.match(r"sparse_engine\[(.*)\]", each) for each in extras[extra]]
        others = [name for match in included if match for name in match[1].split(",")]
        own = {re.split(r"[>=\[]", each)[0] for each in extras[extra]}
        return own.union(*map(libraries, others))

    named, pattern = set(), re.escape(MISSING).replace(r"\{\}", r"([\w-]+)")
    for module in SOURCES:
        if (error := found["none"].get(f"import {module}")) is not None:
            library, extra = re.fullmatch(pattern, error).groups()
            assert {"sklearn": "scikit-learn"}.get(library, library) in libraries(extra), module
            named.add(extra)
    assert named >= {"analysis", "train", "plot", "hub", "estimators", "huggingface", "accelerate"}


@pytest.mark.parametrize("extra", ENOUGH)
def test_an_extra_is_enough(found, extra):
    assert found[extra] == {}


@pytest.mark.parametrize("missing", BROKEN_BY)
def test_the_doctor_runs_where_other_commands_cannot_be_imported(found, missing):
    code, out, err = found[missing]
    assert code == 1, err
    (finding,) = [each for each in json.loads(out)["findings"] if BROKEN_BY[missing] in str(each)]
    assert finding["remedy"] and finding["severity"] == BROKEN
    code, out, err = found["torch, train"]
    assert code == 1 and BROKEN_BY["torch"] in err and not out


def test_an_installation_without_extras_is_not_broken(found):
    code, out, err = found["few"]
    assert code == 0, err
    report = json.loads(out)
    assert not [each for each in report["findings"] if each["severity"] == BROKEN]
    assert report["extras"]["analysis"] == "without scipy, tqdm"
    assert "networkx" in report["packages"] and "scipy" not in report["packages"]
    code, out, err = found["few, train"]
    assert code == 2 and not out and len(err.splitlines()) == 1
    assert "pip install 'sparse_engine[train]'" in err


def test_every_subpackage_is_an_attribute():
    names = [path.parent.name for path in PACKAGE.glob("*/__init__.py")]
    names += [f"lab.{path.parent.name}" for path in PACKAGE.glob("lab/*/__init__.py")]
    for name in names:
        parent, _, own = f"sparse_engine.{name}".rpartition(".")
        owner = importlib.import_module(parent)
        assert getattr(owner, own) is importlib.import_module(f"{parent}.{own}")
    assert not hasattr(sparse_engine, "networks") and "nn" in dir(sparse_engine)


def imported(path):
    """Names of modules and their entries that a file imports, but for those for types alone."""
    todo = list(ast.parse(path.read_text()).body)
    while todo:
        node = todo.pop()
        if isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{each.name}" for each in node.names)
        elif isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
            todo += ast.iter_child_nodes(node)


def test_imports_have_no_circle_and_none_leads_from_the_library_to_the_lab():
    """But for the command, whose main module starts the lab's."""
    graph = nx.DiGraph()
    for module, path in SOURCES.items():
        found = {name if name in SOURCES else name.rpartition(".")[0] for name in imported(path)}
        graph.add_edges_from((module, name) for name in found)
        outside = "lab" not in path.parts and path.name != "__main__.py"
        assert not (outside and any(name.startswith("sparse_engine.lab") for name in found)), module
    assert not [each for each in nx.strongly_connected_components(graph) if len(each) > 1]


def test_private_names_of_torch_stand_in_one_file():
    private = re.compile(
        r"torch(\.\w+)*\._[a-z]|\bforward_ad\._|from torch\.[\w.]*\._|_global_forward"
    )
    files = [path for path in SOURCES.values() if path.name != "private.py"]
    assert not [path for path in files if private.search(path.read_text())]
