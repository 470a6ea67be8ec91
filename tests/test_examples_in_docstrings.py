"""Examples in docstrings run, and print what they say."""

import copy
import doctest
import itertools
import sys
from collections import OrderedDict
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from io import StringIO
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import scipy.sparse
import torch
from torch import nn

from sparse_engine import nn as sparse
from sparse_engine.analysis import signed_network
from sparse_engine.connectome import from_table
from sparse_engine.lab import plot
from sparse_engine.lab.tasks import Examples
from sparse_engine.topology import SET

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "docs" / "_ext"))

import public_names  # noqa: E402

PACKAGE = Path(sparse.__file__).parents[1]
MODULES = sorted(
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
    for path in PACKAGE.rglob("*.py")
    if ">>>" in path.read_text() and "callbacks" not in path.parts
)


@cache
def public():
    """Return everything public, and modules of others."""
    found = {"np": np, "torch": torch, "nn": nn, "Path": Path, "copy": copy, "plot": plot,
             "itertools": itertools, "scipy": scipy}  # fmt: skip
    for module in public_names.modules():
        if not module.startswith("sparse_engine.callbacks."):
            exported = import_module(module)
            found |= {name: getattr(exported, name) for name in public_names.public_names(module)}
    return found


def given():
    """Return a small model, its optimizer, batches, a stream, and so on."""
    model = sparse.SparseLinear(6, 6, density=0.5)
    optimizer = torch.optim.Adam(model.parameters())
    words, examples = torch.randint(50, (5, 2)), torch.randn(605, 3)
    return {
        "model": model, "optimizer": optimizer, "rewiring": SET(model, optimizer),
        "batches": [(torch.randn(2, 6), torch.randn(2, 6))], "loss": nn.functional.mse_loss,
        "network": sparse.SparseCTRNN(3, 4, density=0.5), "stream": torch.randn(3, 2, 3),
        "words": words, "later_words": words, "examples": Examples(examples, examples),
        "train": lambda *_: None, "dataclass": dataclass, "check_leak": print,
        "validate": lambda model: 1.0, "records": [], "log": StringIO(),
        "x": torch.randn(2, 6), "series": np.sin(np.arange(300.0))[:, None], "axes": plt.gca(),
        "weight": sparse.SparseWeight.erdos_renyi(6, 6, density=0.5),
        "connectome": from_table(
            [1, 1, 2], [2, 3, 3], [5, 1, 2], sign=[1, 1, -1],
            neurons={"id": [1, 2, 3], "type": ["Mi1", "Mi1", "T4a"]},
        ),
        "loader": [(torch.randn(2, 6), 0)], "by_density": {0.1: signed_network(40, 0.1)},
    }  # fmt: skip


DENSE = nn.Sequential(OrderedDict(encoder=nn.Linear(6, 6), decoder=nn.Linear(6, 6)))
#: What a single example takes for granted.
OWN = {
    "Continuous.step": {"stream": [(torch.randn(2, 3), 1.0)], "before": 0.0},
    "convert_model.convert_model": {"model": DENSE},
    "criteria.ActivationAware": {"model": DENSE},
    "learner.Learner": {"stream": [(torch.randn(1, 1), torch.randn(1, 1))]},
}

#: Whole runs, of which pages have shorter ones, what runs until it is stopped, and what needs files
#: or several processes.
LONG = {"Config", "sweep", "comparison", "serve", "compare", "read_parquet", "average_links",
        "partition", "shard", "Order", "ShardedWeight", "whole_state_dict", "load_whole_state_dict",
        "read_feather", "read_flyvis", "read_sonata", "read_worm"}  # fmt: skip


class Checker(doctest.OutputChecker):
    """Comparison of outputs, of those that an example shows."""

    def check_output(self, want, got, optionflags):
        return not want or super().check_output(want, got, optionflags)


EXAMPLES = [
    pytest.param(test, id=test.name.removeprefix("sparse_engine."))
    for module in MODULES
    for test in doctest.DocTestFinder(exclude_empty=True).find(import_module(module))
    if test.examples and test.name.split(".")[-1] not in LONG
]


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_runs(example, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mpl.use("Agg")
    example.globs = public() | given() | OWN.get(".".join(example.name.split(".")[-2:]), {})
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    runner = doctest.DocTestRunner(Checker(), optionflags=flags)
    printed = []
    assert runner.run(example, out=printed.append).failed == 0, "".join(printed)
    plt.close("all")
