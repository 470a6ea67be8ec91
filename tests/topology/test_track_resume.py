"""Tracking that is saved and resumed equals tracking that never stopped."""

import io

import pytest
import torch
from torch import nn

from sparse_engine.nn import SparseLinear
from sparse_engine.topology import Cubic, Dynamic, Evenly, Magnitude, Tracker, Uniform

RULES = {
    "constant": {"fraction": 0.3},
    "fewer and fewer": {"fraction": 0.2, "density": Cubic(0.4, 0.05, 0, 30)},
    "moving": {"fraction": 0.2, "redistribution": Evenly()},
}


def tracked(seed, **options):
    generator = torch.Generator().manual_seed(seed)
    model = nn.Sequential(
        SparseLinear(20, 30, density=0.2, generator=generator),
        SparseLinear(30, 10, density=0.5, generator=generator),
    )
    rewiring = Dynamic(model, None, prune=Magnitude(), grow=Uniform(), every=2, **options)
    records = []
    return model, rewiring, Tracker(rewiring, records.append), records


@pytest.mark.parametrize("stop", [0, 1, 6, 11])
@pytest.mark.parametrize("name", RULES)
def test_resuming_equals_never_having_stopped(name, stop, stir):
    whole, first, second = (tracked(seed, **RULES[name]) for seed in (1, 1, 2))

    def train(parts, begin, end):
        for step in range(begin, end):
            torch.manual_seed(step)
            stir(parts[0])
            parts[1].step()

    train(whole, 0, 20)
    train(first, 0, stop)
    file = io.BytesIO()
    torch.save([part.state_dict() for part in first[:2]], file)
    file.seek(0)
    train(second, 0, 5)
    for part, state in zip(second, torch.load(file, weights_only=True), strict=False):
        part.load_state_dict(state)
    second[3].clear()
    train(second, stop, 20)
    assert whole[3] == first[3] + second[3]
    assert len(whole[3]) == 20
    for name, entry in whole[2].state_dict().items():
        assert torch.equal(torch.as_tensor(second[2].state_dict()[name]), torch.as_tensor(entry))


def test_a_state_without_its_observer_loads():
    _, rewiring, _, _ = tracked(1)
    for _ in range(3):
        rewiring.step()
    other = Dynamic(rewiring.weights[0], None, prune=Magnitude(), grow=Uniform(), every=2)
    other.load_state_dict(rewiring.state_dict())
    assert other.steps == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.clear(), "expected the histories of 2 weights, found"),
        (lambda state: state.pop("0.ever"), "expected the histories of 2 weights"),
        (lambda state: state.update({"2.ever": 3}), "expected the histories of 2 weights"),
        (lambda state: state.update({"0.rewirings": -1}), "expected counts of at least 0"),
        (lambda state: state.update({"0.founders": "many"}), "expected counts of at least 0"),
        (lambda state: state.update({"0.founders": 5}), "expected 120 entries .* at most 5"),
        (lambda state: state.update({"0.ever": 3}), "expected ever as a torch.int64 tensor"),
        (
            lambda state: state.update({"0.ever": state["0.ever"].int()}),
            "expected ever as a torch.int64 tensor",
        ),
        (
            lambda state: state.update({"0.founding": state["0.founding"][1:]}),
            "expected 120 entries of founding",
        ),
        (
            lambda state: state.update({"0.ever": state["0.ever"].flip(0)}),
            r"expected ever to be increasing cells in \[0, 600\)",
        ),
        (
            lambda state: state.update({"0.ever": state["0.ever"] + 600}),
            r"expected ever to be increasing cells in \[0, 600\)",
        ),
        (
            lambda state: state.update({"0.ever": torch.tensor([-1, 4])}),
            r"expected ever to be increasing cells in \[0, 600\)",
        ),
    ],
)
def test_a_damaged_or_foreign_state_is_refused(change, message):
    _, _, tracker, _ = tracked(1)
    state = tracker.state_dict()
    change(state)
    with pytest.raises(ValueError, match=message):
        tracker.load_state_dict(state)
