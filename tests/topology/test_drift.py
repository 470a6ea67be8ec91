"""The distance to the first wiring, along a rewiring."""

import copy

import pytest
import torch

from sparse_engine.analysis import topology_distance
from sparse_engine.nn import SparseLinear, SparseONLSTM, SparseRNN
from sparse_engine.topology import Drift, Dynamic
from sparse_engine.topology.grow import Uniform
from sparse_engine.topology.prune import Magnitude


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.rnn = SparseRNN(3, 30, density=0.1)
        self.readout = SparseLinear(30, 12, density=0.2)


def rewiring_of(model):
    return Dynamic(model, None, prune=Magnitude(), grow=Uniform(), every=1)


def test_every_other_rewiring():
    model = Model()
    first = copy.deepcopy(model)
    rewiring, records = rewiring_of(model), []
    Drift(rewiring, records.append, every=2)
    for step in range(1, 6):
        rewiring.step()
        if step % 2 == 0:
            assert [record["distance"] for record in records[-2:]] == [
                *topology_distance(first.rnn, model.rnn),
                *topology_distance(first.readout, model.readout),
            ]
    assert [(r["step"], r["weight"], r["rewirings"]) for r in records] == [
        (step, name, step) for step in (2, 4) for name in ("rnn.weight_hh_l0", "readout.weight")
    ]
    assert all(0 < record["distance"] < 1 for record in records)


def test_a_resumed_run_goes_on_as_if_it_had_never_stopped():
    model, records, resumed_records = Model(), [], []
    rewiring = rewiring_of(model)
    Drift(rewiring, records.append)
    rewiring.step()
    saved, state = copy.deepcopy(model.state_dict()), rewiring.state_dict()
    rewiring.step()

    other = Model()
    resumed = rewiring_of(other)
    Drift(resumed, resumed_records.append)
    resumed.step()
    other.load_state_dict(saved)
    resumed.load_state_dict(state)
    resumed_records.clear()
    resumed.step()
    assert resumed_records == records[2:]


def test_refuses_what_does_not_fit():
    rewiring = rewiring_of(Model())
    for wrong in ({"every": 0}, {"bound": -1.0}):
        with pytest.raises(ValueError, match="every of at least 1 and bound of at least 0"):
            Drift(rewiring, **wrong)
    drift = Drift(rewiring)
    state = drift.state_dict()
    with pytest.raises(ValueError, match="first wirings of 2 weights"):
        drift.load_state_dict({})
    with pytest.raises(ValueError, match="rewirings of at least 0, found -1"):
        drift.load_state_dict({**state, "1.rewirings": -1})
    with pytest.raises(ValueError, match="as two tensors"):
        drift.load_state_dict({**state, "1.col": 3})
    with pytest.raises(ValueError, match="expected col"):
        drift.load_state_dict({**state, "1.col": state["1.col"] + 1000})
    masters = rewiring_of(SparseONLSTM(7, 32, chunk_size=4, density=0.1))
    with pytest.raises(ValueError, match="as many rows per gate as columns, found 144 x 32"):
        Drift(masters)
    assert not masters.observers
