"""Every published method, on a network small enough to train within a test."""

from functools import partial
from typing import NamedTuple

import torch
from torch import nn
from torch.optim import Optimizer

from sparse_engine import topology as t
from sparse_engine.nn import SparseRNN

#: Class and options of every method; ``{steps}`` and ``{every}`` are those of the training.
OPTIONS = {
    t.SET: {"every": "every", "new_links": t.NormalInit(0.1)},
    t.Static: {},
    t.ImportanceSET: {"every": "every", "prune_every": 2, "prune_after": 1},
    t.DeepR: {"l1": 0.1, "temperature": 0.01},
    t.PeriodicDeepR: {"l1": 0.01, "noise": 0.1, "every": "every"},
    t.RigL: {"steps": "steps", "every": "every"},
    t.GSE: {"steps": "steps", "every": "every"},
    t.SNFS: {"steps": "steps", "every": "every", "window": "window"},
    t.DSR: {"threshold": 0.02, "every": "every"},
    t.ITOP: {"steps": "steps", "every": "every"},
    t.CHT: {"every": "every"},
    t.CHTs: {"steps": "steps", "every": "every"},
    t.CHTss: {"steps": "steps", "density": 0.1, "start": 0.25, "every": "every"},
    t.MEST: {"steps": "steps", "every": "every"},
    t.Selfish: {"steps": "steps", "every": "every"},
    t.GraNet: {"steps": "steps", "density": 0.05, "start": 0.25, "last": "last", "every": "every"},
    t.GradualPruning: {"density": 0.05, "start": 0.25, "last": "last", "every": "every"},
    t.NarangPruning: {"density": 0.05, "ramp": "ramp", "every": "every"},
}


def make_method(method, *, steps=40, every=7):
    """Return a function that makes a method for a model, its optimizer and a seed."""
    last = 3 * steps // 4
    named = {
        "steps": steps,
        "every": every,
        "window": every // 2 + 1,
        "last": last,
        "ramp": t.NarangRamp(1, last // 2, last),
    }
    options = {
        name: named.get(entry, entry) if isinstance(entry, str) else entry
        for name, entry in OPTIONS[method].items()
    }
    return partial(method, **options)


ADAM = partial(torch.optim.Adam, lr=0.01)


class Parts(NamedTuple):
    """Parts of a training."""

    model: nn.Module
    optimizer: Optimizer
    rule: t.Rewiring


def build(make, seed, hidden=24, optimizer=ADAM):
    """Make a network, its optimizer and the method, all of one seed."""
    generator = torch.Generator().manual_seed(seed)
    model = SparseRNN(3, hidden, 2, density=0.2, input_density=0.5, generator=generator)
    optimizer = optimizer(model.parameters())
    own = {} if getattr(make, "func", None) is t.Static else {"seed": seed}
    return Parts(model, optimizer, make(model, optimizer, **own))


def train(parts, first, last, after_step=lambda step: None):
    """Train from one step to another; call ``after_step`` after each."""
    for step in range(first, last):
        x = torch.randn(5, 4, 3, generator=torch.Generator().manual_seed(step))
        parts.optimizer.zero_grad()
        parts.model(x)[0].square().mean().backward()
        parts.optimizer.step()
        parts.rule.step()
        after_step(step + 1)


def assert_same(parts, others):
    """Check that model, optimizer and method of two trainings are the same, bit for bit."""
    state, other = state_of(parts), state_of(others)
    assert state.keys() == other.keys()
    for name, entry in state.items():
        same = torch.equal if torch.is_tensor(entry) else type(entry).__eq__
        assert same(entry, other[name]), name


def state_of(parts):
    """Return everything a training is, as one flat dictionary."""
    moments = parts.optimizer.state_dict()["state"].items()
    state = {f"optimizer.{i}.{name}": entry for i, all_ in moments for name, entry in all_.items()}
    state |= {f"model.{name}": entry for name, entry in parts.model.state_dict().items()}
    return state | {f"rule.{name}": entry for name, entry in parts.rule.state_dict().items()}
