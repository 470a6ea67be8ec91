"""Tracking the structure of a wiring: its balance, and its distance to the first one."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from sparse_engine import analysis, convert
from sparse_engine.nn import SparseLinear, SparseONLSTM, SparseRHN, SparseRNN, SparseWeight
from sparse_engine.topology import SET, Measure, NormalInit, Tracker


def core_of(weight):
    """The links that are not new: SET's new links are 0 where nothing else is said."""
    core = convert.to_scipy(weight)
    core.eliminate_zeros()
    return core


def tracked(model, *measures, fraction=0.3, **options):
    """SET, and the records of measures."""
    rewiring, records = SET(model, None, fraction=fraction, every=1, **options), []
    Tracker(rewiring, records.append, measures=measures)
    return rewiring, records


@pytest.mark.parametrize("fraction", [0.0, 0.3, 1.0])
def test_new_links_are_left_out(weight_of, fraction):
    weight = weight_of(torch.randn(300), 30, 30)
    rewiring, records = tracked(weight, analysis.Balance(census=True), fraction=fraction)
    for _ in range(4):
        rewiring.step()
        core, record = core_of(weight), records[-1]
        assert core.nnz == round(record["survival"] * 300)
        expected = analysis.structural_balance(core).to_dict() | {
            "census": analysis.triad_census(core)
        }
        assert {name: record[name] for name in expected} == expected
        nn.init.normal_(weight.values)
    assert (records[-1]["pooled"] is None) == (fraction == 1)


def test_new_links_are_left_out_whatever_their_values(weight_of):
    def pooled(new_links):
        weight = weight_of(torch.arange(-150.0, 150.0) + 0.5, 30, 30)
        rewiring, records = tracked(weight, analysis.Balance(), new_links=new_links)
        rewiring.step()
        return records[0]["pooled"]

    assert pooled(None) == pooled(NormalInit(1.0)) is not None


def test_balance_by_chance_is_that_of_shuffled_signs(weight_of):
    weight = weight_of(torch.randn(300), 30, 30)
    rewiring, records = tracked(weight, analysis.Balance(shuffles=50, seed=3))
    rewiring.step()
    shuffled = analysis.null_model(core_of(weight), n=50, seed=3)
    for name in ("class_mean", "pooled", "triad_level"):
        found, samples = records[0]["null"][name], shuffled.samples[name]
        assert found["z"] == (records[0][name] - samples.mean()) / samples.std(ddof=1)
        assert (found["mean"], found["sd"]) == (samples.mean(), samples.std(ddof=1))
        low, high = np.quantile(samples, (0.025, 0.975))
        assert (found["low"], found["high"]) == (low, high)
    weight.values.data.abs_()  # all semicycles are then balanced, by any permutation
    rewiring.step()
    assert records[1]["null"]["pooled"] == {"mean": 1, "sd": 0, "low": 1, "high": 1, "z": None}


def test_only_square_weights_every_so_many_rewirings():
    model = nn.Sequential(SparseLinear(9, 9, density=0.5), SparseLinear(9, 8, density=0.5))
    rewiring, records = tracked(model, analysis.Balance(every=3))
    for _ in range(7):
        rewiring.step()
    measured = [(r["step"], r["weight"]) for r in records if "class_mean" in r]
    assert measured == [(3, "0.weight"), (6, "0.weight")]
    assert all("census" not in record for record in records)


def test_a_measure_of_ones_own(weight_of):
    class Strength(Measure):
        def measure(self, weight, rewired):
            return {"strength": weight.values.abs().sum().item(), "born": rewired.born.numel()}

    weight = weight_of(torch.ones(20), 5, 7)
    rewiring, records = tracked(weight, Strength(), analysis.Balance(), fraction=0.5)
    rewiring.step()
    assert (records[0]["strength"], records[0]["born"]) == (10, 10)


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.rnn = SparseRNN(3, 30, density=0.1)
        self.readout = SparseLinear(30, 12, density=0.2)


def test_every_other_rewiring():
    model = Model()
    first = copy.deepcopy(model)
    rewiring, records = tracked(model, analysis.Drift(every=2))
    for step in range(1, 6):
        rewiring.step()
        if step % 2 == 0:
            assert [record["distance"] for record in records[-2:]] == [
                *analysis.topology_distance(first.rnn, model.rnn),
                *analysis.topology_distance(first.readout, model.readout),
            ]
    records = [record for record in records if "distance" in record]
    assert [(r["step"], r["weight"], r["rewirings"]) for r in records] == [
        (step, name, step) for step in (2, 4) for name in ("rnn.weight_hh_l0", "readout.weight")
    ]
    assert all(0 < record["distance"] < 1 for record in records)


def test_the_owner_of_a_weight_says_whether_it_is_recurrent():
    """Levels of a highway network are compared as recurrent weights, weight_hh of others is not."""
    torch.manual_seed(4)
    rhn = SparseRHN(3, 12, recurrence_depth=2, density=0.3)
    named = torch.nn.Module()
    named.weight_hh_l0 = SparseWeight.erdos_renyi(12, 12, density=0.3)
    for model, kind in ((rhn, analysis.RecurrentLayer), (named, lambda weight: weight)):
        first = copy.deepcopy(model)
        rewiring, records = tracked(model, analysis.Drift())
        rewiring.step()
        wanted = [
            analysis.topology_distance([kind(first.get_submodule(name))], [kind(weight)])[0]
            for name, weight in zip(rewiring.names, rewiring.weights, strict=True)
        ]
        assert [record["distance"] for record in records] == wanted


def test_refuses_what_does_not_fit():
    tracker = Tracker(SET(Model(), None), measures=[analysis.Drift()])
    state = tracker.state_dict()
    with pytest.raises(ValueError, match="histories of 2 weights"):
        tracker.load_state_dict({})
    with pytest.raises(ValueError, match="as two tensors"):
        tracker.load_state_dict({**state, "measure0.1.col": 3})
    with pytest.raises(ValueError, match="expected col"):
        tracker.load_state_dict({**state, "measure0.1.col": state["measure0.1.col"] + 1000})
    masters = SET(SparseONLSTM(7, 32, chunk_size=4, density=0.1), None)
    with pytest.raises(ValueError, match="as many rows per gate as columns, found 144 x 32"):
        Tracker(masters, measures=[analysis.Drift()])
    assert not masters.observers
