"""Annealing to a balance, and balance tracked while a network trains."""

import _thread
import copy
import math
import threading

import numpy as np
import pytest
import torch
from analysis.graphs import signed_digraphs
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array
from torch import nn

from sparse_engine import analysis, convert
from sparse_engine.nn import SparseLinear, SparseONLSTM, SparseRHN, SparseRNN, SparseWeight
from sparse_engine.topology import SET, Measure, NormalInit, Tracker

OBJECTIVES = {analysis.ClassMean(): "class_mean", analysis.Pooled(): "pooled"}


def balanced_network(n, density, *, seed=0, positive=0.5, **options):
    return analysis.anneal(
        analysis.signed_network(n, density, positive=positive, seed=seed), seed=seed, **options
    )


def self_loops_of(w):
    coo = w.tocoo()
    return int((coo.row == coo.col).sum())


def values_by_source(w):
    coo = w.tocoo()
    return sorted(zip(coo.col.tolist(), coo.data.tolist(), strict=True))


def check_invariants(before, after):
    cells = after.tocoo().row * after.shape[0] + after.tocoo().col
    assert after.nnz == before.nnz == len(set(cells.tolist()))
    np.testing.assert_array_equal(np.diff(after.indptr), np.diff(before.indptr))
    assert values_by_source(after) == values_by_source(before)


@settings(max_examples=150)
@given(
    w=signed_digraphs(most=14),
    target=st.sampled_from([0.0, 0.5, 1.0]),
    objective=st.sampled_from([*OBJECTIVES]),
    self_loops=st.booleans(),
    seed=st.integers(0, 2**64 - 1),
)
def test_degrees_and_outgoing_values_stay_and_the_balance_is_that_of_a_count(
    w, target, objective, self_loops, seed
):
    found = analysis.anneal(
        w,
        target=target,
        objective=objective,
        self_loops=self_loops,
        seed=seed,
        cooling=analysis.Cooling(hot=3, cold=0.5, factor=0.7, proposals=60),
    )
    check_invariants(w, found.graph)
    if not self_loops:
        assert self_loops_of(found.graph) <= self_loops_of(w)
    for graph, balance in ((w, found.balance[0]), (found.graph, found.balance[-1])):
        expected = getattr(analysis.structural_balance(graph), OBJECTIVES[objective])
        np.testing.assert_array_equal(balance, expected)


def philox(counter, seed):
    """Philox4x32-10 as Salmon et al. (2011) give it, for a counter below 2^32."""
    x, key = [counter, 0, 0, 0], [seed & 0xFFFFFFFF, seed >> 32]
    for _ in range(10):
        a, b = 0xD2511F53 * x[0], 0xCD9E8D57 * x[2]
        x = [b >> 32 ^ x[1] ^ key[0], b & 0xFFFFFFFF, a >> 32 ^ x[3] ^ key[1], a & 0xFFFFFFFF]
        key = [(key[0] + 0x9E3779B9) % 2**32, (key[1] + 0xBB67AE85) % 2**32]
    return x


def twin(w, *, target, seed, cooling, objective, self_loops):
    """The annealing, with a dictionary of links and a new count for every proposal."""
    coo = w.tocsc().tocoo()
    ends = [*zip(coo.col.tolist(), coo.row.tolist(), strict=True)]

    def graph(ends):
        sources, targets = np.array(ends).T
        return csr_array((coo.data, (targets, sources)), shape=w.shape)

    first = analysis.structural_balance(w).classes.values()
    scale = max(1, sum(total for _, total in first))

    def energy(ends):
        balance = getattr(analysis.structural_balance(graph(ends)), OBJECTIVES[objective])
        return scale * (1.0 if math.isnan(balance) else abs(balance - target))

    now, accepted = energy(ends), []
    for level, temperature in enumerate(cooling.temperatures()):
        kept = 0
        for number in range(level * cooling.proposals, (level + 1) * cooling.proposals):
            words = philox(number, seed)
            k, l = (word * len(ends) >> 32 for word in words[:2])  # noqa: E741
            (a, b), (c, d) = ends[k], ends[l]
            made = [(a, d), (c, b)]
            if any(link in ends for link in made) or (not self_loops and (a == d or c == b)):
                continue
            tried = ends.copy()
            tried[k], tried[l] = made
            new = energy(tried)
            uniform = ((words[2] | words[3] << 32) >> 11) / 2**53
            if uniform < math.exp(min(0.0, (now - new) / temperature)):
                ends, now, kept = tried, new, kept + 1
        accepted.append(kept / cooling.proposals)
    return graph(ends), accepted


@pytest.mark.parametrize("self_loops", [False, True])
@pytest.mark.parametrize("objective", OBJECTIVES, ids=OBJECTIVES.values())
def test_every_proposal_is_that_of_the_twin(objective, self_loops):
    w = analysis.signed_network(12, 0.35, self_loops=True, seed=3)
    options = {
        "target": 0.9,
        "seed": 2**40 + 7,
        "cooling": analysis.Cooling(hot=8, cold=0.5, factor=0.5, proposals=120),
        "objective": objective,
        "self_loops": self_loops,
    }
    found = analysis.anneal(w, **options)
    graph, accepted = twin(w, **options)
    assert (found.graph != graph).nnz == 0
    assert found.accepted.tolist() == accepted
    assert 0 < accepted[-1] < accepted[0] < 1


def test_the_published_ladder_is_of_one_set_of_degrees(data):
    folder = data / "topologies" / "generated"
    (start,) = (analysis.read_fanmod(file, nodes=128) for file in folder.glob("gesture2_ER_*.txt"))
    ladder = [*folder.glob("gesture2_BN_*.txt")]
    assert ladder
    for file in ladder:
        theirs = analysis.read_fanmod(file, nodes=128)
        check_invariants(start, theirs)
        named = float(file.stem.rpartition("_")[2])
        assert analysis.structural_balance(theirs).class_mean == pytest.approx(named, abs=0.0005)
        ours = analysis.anneal(start, target=named)
        check_invariants(start, ours.graph)
        assert analysis.structural_balance(ours.graph).class_mean == pytest.approx(named, abs=0.005)


@pytest.mark.parametrize("w", [csr_array((1, 1)), csr_array((5, 5)), csr_array(np.ones((4, 4)))])
def test_where_nothing_can_be_swapped(w):
    found = analysis.anneal(w, target=0.3)
    assert (found.graph != w).nnz == 0
    assert not found.accepted.any()
    assert np.isnan(found.balance).all() == (w.nnz == 0)


def test_ctrl_c_ends_it():
    # A thousand times as much as is done before the interruption.
    cooling = analysis.Cooling(hot=1, cold=1, proposals=300_000_000)
    timer = threading.Timer(0.2, _thread.interrupt_main)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        balanced_network(300, 0.05, target=1.0, cooling=cooling)
    timer.join()


def test_the_schedule_of_zhang():
    temperatures = analysis.Cooling().temperatures()
    assert len(temperatures) == 342
    assert temperatures[0] == 100 and temperatures[-1] >= 0.1 > 0.98 * temperatures[-1]
    assert analysis.Cooling(hot=2, cold=2).temperatures().tolist() == [2]
    assert analysis.Cooling(hot=8, cold=1, factor=0.5).temperatures() == pytest.approx([8, 4, 2, 1])


@pytest.mark.parametrize("self_loops", [False, True])
def test_random_networks_have_exact_numbers(self_loops):
    w = analysis.signed_network(40, 0.3, positive=0.8, self_loops=self_loops, seed=1)
    links = round(0.3 * 40 * (40 if self_loops else 39))
    assert w.nnz == links and (w.data == 1).sum() == round(0.8 * links)
    assert set(w.data) == {-1.0, 1.0}
    assert (self_loops_of(w) > 0) == self_loops
    full = analysis.signed_network(7, 1.0, self_loops=self_loops)
    assert full.nnz == (49 if self_loops else 42)
    assert analysis.signed_network(1, 0.5).nnz == 0


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
