"""Tracking against brute force, its memory, and the hash of a topology."""

import hashlib
import itertools
import struct

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from testing import awkward_patterns, patterns
from torch import nn

from sparse_engine.nn import SparseLinear, SparseWeight
from sparse_engine.topology import (
    SET,
    Magnitude,
    Prune,
    RandomGrowth,
    Rewiring,
    Tracker,
    topology_hash,
)
from sparse_engine.topology.links import union
from sparse_engine.topology.redistribute import Evenly
from sparse_engine.topology.schedule import CubicSchedule


def positions_of(weight):
    return set(weight.pattern.links.positions().tolist())


class Everything:
    """Expected records of a tracker, from whole sets of positions and the links' own identities."""

    def __init__(self, weight):
        self.first = self.ever = self.before = positions_of(weight)
        self.originals = set(self.first)

    def check(self, weight, record, kept):
        """``kept`` are the positions of links that the rewiring did not touch."""
        now, positions = positions_of(weight), weight.shape[0] * weight.shape[1]
        self.ever = self.ever | now
        self.originals &= kept
        assert record["nnz"] == len(now)
        assert record["density"] == len(now) / max(1, positions)
        assert record["turnover"] == (len(now - kept) / len(now) if now else 0)
        assert record["survival"] == (len(kept) / len(self.before) if self.before else 1)
        first = len(self.originals) / len(self.first) if self.first else 1
        assert record["first_survival"] == first
        assert record["exploration"] == len(self.ever) / max(1, positions)
        assert record["hash"] == topology_hash(weight)
        self.before = now


class Noting(Prune):
    """Notes which positions survive."""

    def __init__(self):
        self.kept = {}

    def drop(self, weight, fraction, key):
        dropped = Magnitude().drop(weight, fraction, key)
        self.kept[weight] = set(weight.pattern.links.positions()[~dropped].tolist())
        return dropped


RULES = {
    "constant": {"fraction": 0.3},
    "all": {"fraction": 1.0},
    "none": {"fraction": 0.0},
    "fewer and fewer": {"fraction": 0.2, "density": CubicSchedule(0.4, 0.05, 0, 15)},
    "moving": {"fraction": 0.2, "redistribution": Evenly()},
}


@pytest.mark.parametrize("name", RULES)
def test_every_number_is_that_of_sets(name, stir):
    model = nn.ModuleList(
        SparseWeight(torch.randn(pattern.nnz), pattern) for pattern in awkward_patterns().values()
    )
    prune, records = Noting(), []
    rewiring = Rewiring(model, None, prune=prune, grow=RandomGrowth(), every=1, **RULES[name])
    tracker = Tracker(rewiring, records.append)
    everything = [Everything(weight) for weight in model]
    for step in range(1, 21):
        rewiring.step()
        assert [record["weight"] for record in records] == rewiring.names
        for weight, expected, record in zip(model, everything, records, strict=True):
            assert record["step"] == record["rewirings"] == step
            assert "gate_density" not in record
            expected.check(weight, record, prune.kept[weight])
        records.clear()
        stir(model)
    ever = sum(len(expected.ever) for expected in everything)
    positions = sum(weight.shape[0] * weight.shape[1] for weight in model)
    assert tracker.exploration == ever / positions


@settings(max_examples=60)
@given(st.sets(st.integers(0, 60)), st.sets(st.integers(0, 60)))
def test_union(known, positions):
    both = [torch.tensor(sorted(each), dtype=torch.int64) for each in (known, positions)]
    assert union(*both).tolist() == sorted(known | positions)


@given(pattern=patterns(), data=st.data())
def test_gates_are_blocks_of_rows(pattern, data):
    rows = pattern.shape[0]
    edges = [0, *data.draw(st.lists(st.integers(0, rows), max_size=4).map(sorted)), rows]
    weight, records = SparseWeight(torch.randn(pattern.nnz), pattern), []
    weight.blocks = blocks = [end - start for start, end in itertools.pairwise(edges)]
    rewiring = SET(weight, None, every=1)
    Tracker(rewiring, records.append)
    rewiring.step()
    (record,) = records
    mask = weight.pattern.dense(torch.ones(weight.nnz, dtype=torch.float64))
    densities = [block.sum().item() / max(1, block.numel()) for block in mask.split(blocks)]
    assert record.get("gate_density", [record["density"]]) == pytest.approx(densities, rel=1e-12)
    assert ("gate_density" in record) == (len(blocks) > 1)


def test_frozen_weights_have_no_records_until_they_thaw():
    frozen, records = SparseLinear(9, 9, density=0.3).requires_grad_(False), []
    model = nn.Sequential(SparseLinear(9, 9, density=0.3), frozen)
    rewiring = SET(model, None, every=1)
    Tracker(rewiring, records.append)
    rewiring.step()
    frozen.requires_grad_(True)
    rewiring.step()
    assert [(record["step"], record["weight"], record["rewirings"]) for record in records] == [
        (1, "0.weight", 1),
        (2, "0.weight", 2),
        (2, "1.weight", 1),
    ]


def test_numbers_are_curves_in_tensorboard(tmp_path, weight_of):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    model = nn.ModuleDict({"hidden": weight_of(torch.ones(30), 10, 10)})
    model["hidden"].blocks = (4, 6)
    from sparse_engine.callbacks.tensorboard import TensorBoard

    rewiring, board, records = SET(model, None, every=1), TensorBoard(tmp_path), []
    Tracker(rewiring, board.write, records.append)
    for _ in range(4):
        rewiring.step()
    board.close()
    events = accumulator.EventAccumulator(str(tmp_path)).Reload()
    curves = {
        tag: [(event.step, event.value) for event in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
    }
    numbers = [name for name, entry in records[0].items() if isinstance(entry, int | float)]
    expected = {
        f"{name}/hidden": [(record["step"], record[name]) for record in records]
        for name in numbers
        if name != "step"
    }
    for gate in (0, 1):
        expected[f"gate_density/hidden/{gate}"] = [
            (record["step"], record["gate_density"][gate]) for record in records
        ]
    assert curves.keys() == expected.keys()
    for tag, points in expected.items():
        assert torch.tensor(curves[tag]).equal(torch.tensor(points).float()), tag


def tracked(seed, **options):
    generator = torch.Generator().manual_seed(seed)
    model = nn.Sequential(
        SparseLinear(20, 30, density=0.2, generator=generator),
        SparseLinear(30, 10, density=0.5, generator=generator),
    )
    rewiring = Rewiring(model, None, prune=Magnitude(), grow=RandomGrowth(), every=2, **options)
    records = []
    return model, rewiring, Tracker(rewiring, records.append), records


def test_a_state_without_its_observer_loads():
    _, rewiring, _, _ = tracked(1)
    for _ in range(3):
        rewiring.step()
    other = Rewiring(rewiring.weights[0], None, prune=Magnitude(), grow=RandomGrowth(), every=2)
    other.load_state_dict(rewiring.state_dict())
    assert other.steps_taken == 3


INCREASING = r"expected ever to be increasing positions in \[0, 600\)"


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"0.ever": None}, "expected the histories of 2 weights"),
        ({"2.ever": 3}, "expected the histories of 2 weights"),
        ({"0.rewirings": -1}, "expected counts of at least 0"),
        ({"0.founders": "many"}, "expected counts of at least 0"),
        ({"0.founders": 5}, "at most 5 of them true, found torch.bool of shape .120., 120 of them"),
        ({"0.founding": 3}, "expected founding of 120 bools, at most 120 of them true, found int"),
        ({"0.ever": 3}, INCREASING),
        ({"0.ever": lambda ever: ever.int()}, INCREASING),
        ({"0.founding": lambda founding: founding[1:]}, "expected founding of 120 bools"),
        ({"0.ever": lambda ever: ever.flip(0)}, INCREASING),
        ({"0.ever": lambda ever: ever + 600}, INCREASING),
        ({"0.ever": torch.tensor([-1, 4])}, INCREASING),
    ],
)
def test_a_damaged_or_foreign_state_is_refused(entries, message):
    _, _, tracker, _ = tracked(1)
    state = tracker.state_dict()
    for name, entry in entries.items():
        state[name] = entry(state[name]) if callable(entry) else entry
    state = {name: entry for name, entry in state.items() if entry is not None}
    with pytest.raises(ValueError, match=message):
        tracker.load_state_dict(state)


def literal_hash(weight):
    """The same from Python's own integers."""
    crow, col = weight.crow_indices.tolist(), weight.col_indices.tolist()
    packed = struct.pack(f"<{2 + len(crow)}q{len(col)}i", *weight.shape, *crow, *col)
    return hashlib.blake2b(packed, digest_size=16).hexdigest()


def test_a_hash_literally():
    for pattern in awkward_patterns().values():
        weight = SparseWeight(torch.zeros(pattern.nnz), pattern)
        assert topology_hash(weight) == literal_hash(weight)
