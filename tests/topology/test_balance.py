"""Balance along training: of the links that a rewiring left, in the tracker's records."""

import json

import pytest
import torch
from torch import nn

from sparse_engine import convert
from sparse_engine.analysis import structural_balance, triad_census
from sparse_engine.nn import SparseLinear
from sparse_engine.topology import SET, Balance, Measure, Normal, Tracker
from sparse_engine.train import MetricsLog, read_metrics


def core_of(weight):
    """The links that are not new: SET's new links are 0 where nothing else is said."""
    core = convert.to_scipy(weight)
    core.eliminate_zeros()
    return core


@pytest.mark.parametrize("fraction", [0.0, 0.3, 1.0])
def test_new_links_are_left_out(weight_of, fraction):
    weight, records = weight_of(torch.randn(300), 30, 30), []
    rewiring = SET(weight, None, fraction=fraction, every=1)
    Tracker(rewiring, records.append, measures=[Balance(census=True)])
    for _ in range(4):
        rewiring.step()
        core, record = core_of(weight), records[-1]
        assert core.nnz == round(record["survival"] * 300)
        expected = structural_balance(core).to_dict() | {"census": triad_census(core)}
        assert {name: record[name] for name in expected} == expected
        nn.init.normal_(weight.values)
    assert (records[-1]["pooled"] is None) == (fraction == 1)


def test_new_links_are_left_out_whatever_their_values(weight_of):
    def pooled(birth):
        weight, records = weight_of(torch.arange(-150.0, 150.0) + 0.5, 30, 30), []
        rewiring = SET(weight, None, fraction=0.3, every=1, birth=birth)
        Tracker(rewiring, records.append, measures=[Balance()])
        rewiring.step()
        return records[0]["pooled"]

    assert pooled(None) == pooled(Normal(1.0)) is not None


def test_only_square_weights_every_so_many_rewirings():
    model = nn.Sequential(SparseLinear(9, 9, density=0.5), SparseLinear(9, 8, density=0.5))
    rewiring, records = SET(model, None, every=1), []
    Tracker(rewiring, records.append, measures=[Balance(every=3)])
    for _ in range(7):
        rewiring.step()
    measured = [(r["step"], r["weight"]) for r in records if "class_mean" in r]
    assert measured == [(3, "0.weight"), (6, "0.weight")]
    assert all("census" not in record for record in records)


def test_records_are_lines_of_json(tmp_path, weight_of):
    log, records = MetricsLog(tmp_path / "topology.jsonl"), []
    rewiring = SET(weight_of(torch.randn(300), 30, 30), None, fraction=1.0, every=1)
    Tracker(rewiring, log.write, records.append, measures=[Balance(census=True)])
    rewiring.step()
    log.close()
    assert read_metrics(tmp_path / "topology.jsonl") == records == json.loads(json.dumps(records))


def test_a_measure_of_ones_own(weight_of):
    class Strength(Measure):
        def of(self, weight, rewired):
            return {"strength": weight.values.abs().sum().item(), "born": rewired.born.numel()}

    weight, records = weight_of(torch.ones(20), 5, 7), []
    rewiring = SET(weight, None, fraction=0.5, every=1)
    Tracker(rewiring, records.append, measures=[Strength(), Balance()])
    rewiring.step()
    assert (records[0]["strength"], records[0]["born"]) == (10, 10)


def test_every_is_at_least_one():
    with pytest.raises(ValueError, match="every of at least 1 rewiring, found 0"):
        Balance(every=0)
