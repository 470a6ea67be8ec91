"""A rewiring that follows an optimizer: its steps, its state, and what it refuses."""

import copy
from functools import partial

import pytest
import torch
from callbacks.trainers import Network, data
from torch import nn

from sparse_engine.callbacks import OptimizerHook
from sparse_engine.topology import SET, RigL

METHOD = partial(RigL, steps=100, every=4)


def setup(method=METHOD, **options):
    model = Network()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01, **options)
    return model, optimizer, OptimizerHook(method, model, optimizer)


def loss_of(model):
    x, y = data()
    return nn.functional.mse_loss(model(x), y)


@pytest.mark.parametrize("fused", [False, True])
def test_a_step_that_the_scaler_skips_does_not_count(fused):
    plain, skipping = setup(fused=fused), setup(fused=fused)
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    for step in range(10):
        model, optimizer, _ = plain
        loss_of(model).backward()
        optimizer.step()
        optimizer.zero_grad()
        model, optimizer, follower = skipping
        for factor in [float("inf"), 1.0] if step in (3, 6) else [1.0]:
            scaler.scale(factor * loss_of(model)).backward()
            scaler.step(optimizer)
            scaler.update()
            follower.end_step()
            optimizer.zero_grad()
    assert plain[2].rewiring.steps_taken == skipping[2].rewiring.steps_taken == 10
    for name, tensor in plain[0].state_dict().items():
        assert torch.equal(skipping[0].state_dict()[name], tensor), name
    assert plain[0].rnn.weight_hh_l0.topology_version == 2


def test_what_is_captured_goes_with_the_gradient_of_a_skipped_step():
    model, optimizer, follower = setup(partial(RigL, steps=100, every=1))
    loss_of(model).backward()
    follower.end_step()
    assert model.rnn.weight_hh_l0.captured == [[]]
    loss_of(model).backward()
    optimizer.step()
    loss_of(model).backward()  # accumulates
    assert len(model.rnn.weight_hh_l0.captured[-1]) == 1


@pytest.mark.parametrize("before", [True, False])
def test_the_state_comes_with_that_of_the_optimizer(before):
    model, optimizer, _ = setup()
    for _ in range(6):
        optimizer.zero_grad()
        loss_of(model).backward()
        optimizer.step()
    saved = copy.deepcopy([model.state_dict(), optimizer.state_dict()])
    other = Network()
    fresh = torch.optim.Adam(other.parameters())
    if before:
        resumed = OptimizerHook(METHOD, other, fresh)
    other.load_state_dict(saved[0])
    fresh.load_state_dict(saved[1])
    if not before:
        resumed = OptimizerHook(METHOD, other, fresh)
    assert "rewiring" not in fresh.param_groups[0]
    assert resumed.rewiring.state_dict() == {"steps": 6, "seed": 0}


def test_a_state_dict_without_a_rewiring_is_loaded():
    model, optimizer, follower = setup()
    loss_of(model).backward()
    optimizer.step()
    optimizer.load_state_dict(torch.optim.Adam(model.parameters()).state_dict())
    assert follower.rewiring.steps_taken == 1


def test_after_detaching_another_continues():
    model, optimizer, follower = setup(partial(RigL, steps=100, every=2))
    loss_of(model).backward()
    optimizer.step()
    follower.detach()
    assert model.rnn.weight_hh_l0.captured is None
    loss_of(model).backward()
    optimizer.step()
    assert optimizer.state_dict()["param_groups"][0]["rewiring"] == {"steps": 1, "seed": 0}
    again = OptimizerHook(METHOD, model, optimizer)
    assert again.rewiring.steps_taken == 1
    assert follower.rewiring.steps_taken == 1


def test_figures_count_all_that_has_grown():
    grown = []
    counting = partial(SET, every=1, observers=(lambda *change: grown.append(len(change[2].born)),))
    model, optimizer, follower = setup(counting)
    nnz = model.rnn.weight_hh_l0.nnz
    assert not follower.rewired
    for _ in range(2):
        loss_of(model).backward()
        optimizer.step()
    assert follower.rewired and len(grown) == 2
    assert follower.figures() == {
        "rewiring/nnz": nnz,
        "rewiring/density": nnz / 24**2,
        "rewiring/turnover": sum(grown) / nnz,
    }
    assert not follower.rewired and follower.figures()["rewiring/turnover"] == 0


def test_a_weight_of_another_optimizer_is_refused():
    model = Network()
    optimizer = torch.optim.Adam(model.readout.parameters())
    with pytest.raises(ValueError, match=r"of all rewired weights, found none of rnn\.weight"):
        OptimizerHook(METHOD, model, optimizer)
    model.rnn.weight_hh_l0.frozen_pattern = True
    OptimizerHook(METHOD, model, optimizer)
