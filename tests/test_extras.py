"""Serving needs torch and numpy alone; what needs another library names the extra that has it."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
OPTIONAL = [
    *("networkx", "scipy", "tyro", "tqdm", "matplotlib", "safetensors", "pooch", "sklearn", "aeon"),
    *("reservoirpy", "lightning", "accelerate", "transformers", "skorch", "huggingface_hub"),
    *("tensorboard", "torch_sparse"),
]
MODULES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in sorted((ROOT / "sparse_engine").rglob("*.py"))
]

# Reports the error of each statement, where the libraries named first cannot be imported.
SCRIPT = """
import json
import sys

class Blocked:
    names = set(json.loads(sys.argv[1]))
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name.partition(".")[0])

import torch, torch._dynamo  # torch brings networkx for itself
sys.meta_path.insert(0, Blocked())
for name in [each for each in sys.modules if each.partition(".")[0] in Blocked.names]:
    del sys.modules[name]

errors = []
for statement in json.loads(sys.argv[2]):
    try:
        exec(statement, {"torch": torch})
        errors.append(None)
    except ImportError as error:
        errors.append(str(error))
    except Exception as error:
        errors.append(repr(error))
print(json.dumps(errors))
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


def errors(statements, blocked):
    command = [sys.executable, "-c", SCRIPT, json.dumps(blocked), json.dumps(statements)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return dict(zip(statements, json.loads(done.stdout), strict=True))


@pytest.fixture(scope="module")
def without():
    """The errors of all statements of these tests, in one process, which takes a few seconds."""
    imports = [f"import {name}" for name in MODULES]
    return errors([*WORKS, *(statement for statement, _, _ in NEEDS), *imports], OPTIONAL)


WORKS = [
    "import sparse_engine",
    *(
        f"import sparse_engine.{name}"
        for name in ("nn", "ops", "topology", "optim", "convert", "models", "callbacks", "machine")
    ),
    "from sparse_engine.models import *",
    "from sparse_engine.convert import from_networkx, from_scipy, read_npz, from_torch",
    SERVING,
]

MISSING = (
    r"expected the library (\w+), found none; install it with: "
    r"pip install 'sparse_engine\[([\w-]+)\]'"
)
WEIGHT = "from sparse_engine.nn import SparseWeight as W; w = W.from_dense(torch.ones(3, 3))\n"
NEEDS = [
    ("import sparse_engine.analysis", "networkx", "analysis"),
    ("import sparse_engine; sparse_engine.analysis", "networkx", "analysis"),
    ("from sparse_engine.analysis import triad_census", "networkx", "analysis"),
    (f"{WEIGHT}from sparse_engine import convert; convert.to_scipy(w)", "scipy", "analysis"),
    (f"{WEIGHT}from sparse_engine import convert; convert.to_networkx(w)", "networkx", "analysis"),
    ("from sparse_engine import convert; convert.from_scipy(1)", "scipy", "analysis"),
    ("from sparse_engine import convert; convert.read_npz('no file')", "scipy", "analysis"),
    (
        "from sparse_engine import ops, topology; at = [[0.0]] * 3; "
        "wiring = topology.ExponentialDistance(at, at, scale=1.0, density=0.5); "
        "wiring.links(3, 3, ops.RandomKey(0, 0, 0))",
        "scipy",
        "analysis",
    ),
    (
        "from sparse_engine.lab.networks import RecurrentNetwork as R; "
        "R(wiring='balanced').recurrent(1, generator=torch.Generator())",
        "networkx",
        "analysis",
    ),
    (
        f"{WEIGHT}from sparse_engine import convert; convert.to_torch_sparse(w)",
        "torch_sparse",
        "torch-sparse",
    ),
    ("from sparse_engine import topology; topology.TensorBoard('x')", "tensorboard", "tensorboard"),
]


def test_every_module_imports_or_names_an_extra_that_has_the_library(without):
    """As pyproject.toml says: of an extra or of another that it includes."""
    text = (ROOT / "pyproject.toml").read_text()
    extras = pytest.importorskip("tomllib").loads(text)["project"]["optional-dependencies"]

    def libraries(extra):
        included = [re.match(r"sparse_engine\[(.*)\]", each) for each in extras[extra]]
        others = [name for match in included if match for name in match[1].split(",")]
        own = {re.split(r"[>=\[]", each)[0] for each in extras[extra]}
        return own.union(*map(libraries, others))

    named = set()
    for module in MODULES:
        if (error := without[f"import {module}"]) is not None:
            library, extra = re.fullmatch(MISSING, error).groups()
            assert {"sklearn": "scikit-learn"}.get(library, library) in libraries(extra), module
            named.add(extra)
    assert named >= {"analysis", "train", "plot", "hub", "estimators", "huggingface", "accelerate"}


@pytest.mark.parametrize("statement", WORKS)
def test_serving_needs_no_other_library(without, statement):
    assert without[statement] is None


@pytest.mark.parametrize(("statement", "library", "extra"), NEEDS)
def test_what_needs_a_library_names_its_extra(without, statement, library, extra):
    option = "--no-build-isolation " if extra == "torch-sparse" else ""
    assert without[statement] == (
        f"expected the library {library}, found none; install it with: "
        f"pip install {option}'sparse_engine[{extra}]'"
    )


@pytest.mark.parametrize(
    ("extra", "names"),
    [
        ("analysis", ["analysis"]),
        ("plot", ["lab.plot"]),
        ("train", ["analysis", "lab.train", "lab.tasks", "lab.cli"]),
    ],
)
def test_an_extra_is_enough(extra, names):
    """With the libraries of one extra alone, its packages can be imported."""
    libraries = {
        "analysis": {"networkx", "scipy", "tqdm"},
        "train": {"networkx", "scipy", "tqdm", "tyro", "safetensors", "pooch"},
        "plot": {"matplotlib"},
    }
    found = errors(
        [f"import sparse_engine.{name}" for name in names],
        [name for name in OPTIONAL if name not in libraries[extra]],
    )
    assert set(found.values()) == {None}
