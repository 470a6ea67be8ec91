"""Rewiring within the trainers of other libraries equals a loop by hand."""

from functools import partial

import pytest
from callbacks.trainers import TRAINERS, Network, assert_same, by_hand

from sparse_engine.topology import (
    SET,
    SNFS,
    GradualPruning,
    NormalInit,
    RigL,
    Tracker,
)

# The libraries warn of what they cannot find, of few workers, and of their own past.
pytestmark = pytest.mark.filterwarnings("ignore")

METHODS = {
    "SET": partial(SET, fraction=0.3, every=3, new_links=NormalInit(0.1)),
    "RigL": partial(RigL, steps=100, every=3),
    "GradualPruning": partial(GradualPruning, start=0.3, density=0.1, last=12, every=3),
}


def tracked(method):
    """The method with a rule that has a memory of every link ever used."""

    def make(model, optimizer):
        rewiring = method(model, optimizer)
        Tracker(rewiring)
        return rewiring

    return make


@pytest.fixture(params=TRAINERS)
def trainer(request):
    pytest.importorskip(request.param)
    return TRAINERS[request.param]


@pytest.mark.parametrize(("method", "accumulate"), [("SET", 1), ("RigL", 2), ("GradualPruning", 1)])
def test_a_trainer_equals_a_loop_by_hand(trainer, method, accumulate, tmp_path):
    """Its log has every rewiring."""
    options = {"epochs": 3, "accumulate": accumulate}
    found = trainer(METHODS[method], folder=tmp_path, **options)
    expected = by_hand(METHODS[method], **options)
    assert expected.rewiring.steps == 12 // accumulate
    assert expected.model.rnn.weight_hh_l0.topology_version == 4 // accumulate
    assert_same(found, expected)
    if method == "GradualPruning":
        first, *others = figures = expected.figures
        assert len(figures) == 4 and others[-1]["nnz"] < first["nnz"]
        prefix = "" if trainer is TRAINERS["skorch"] else "rewiring/"
        shown = [{name: each[f"{prefix}{name}"] for name in first} for each in found.figures]
        # A row of skorch is that of an epoch, in which the last number counts.
        assert shown == ([first, others[0], others[2]] if not prefix else figures)


# The checkpoint of the last is within the steps whose gradients it has captured.
RESUMED = METHODS | {"SNFS": partial(SNFS, steps=20, every=5, window=5)}


@pytest.mark.parametrize("method", ["SNFS", "GradualPruning"])
def test_resuming_equals_never_having_stopped(trainer, method, tmp_path):
    method = tracked(RESUMED[method])
    trainer(method, epochs=2, folder=tmp_path)
    resumed = trainer(method, epochs=3, folder=tmp_path, resume=True)
    assert_same(resumed, by_hand(method, epochs=3))


@pytest.mark.parametrize("name", [name for name in TRAINERS if name != "skorch"])
def test_a_skipped_step_does_not_count(name, tmp_path, monkeypatch):
    pytest.importorskip(name)
    # The last is the one before a rewiring, whose infinite gradient is not to grow links.
    monkeypatch.setattr(Network, "overflows", frozenset({0, 4}))
    found = TRAINERS[name](METHODS["RigL"], epochs=3, folder=tmp_path, scaled=True)
    expected = by_hand(METHODS["RigL"], epochs=3)
    assert expected.rewiring.steps == 10
    assert_same(found, expected)
