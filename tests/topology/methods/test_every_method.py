"""Properties of every published method: resuming, threads, exact numbers of links."""

import inspect

import pytest
import torch
from methods import OPTIONS, assert_same, train
from testing import assert_valid

from sparse_engine import topology
from sparse_engine.lab.train import METHODS


def test_no_method_is_forgotten():
    assert {*OPTIONS} == {entry.kind for entry in METHODS.values()}


def test_the_default_device_decides_nothing(build):
    first, second = build(5), build(5)
    train(first, 0, 22)
    step = second.rule.step

    def step_elsewhere():
        with torch.device("meta"):
            step()

    second.rule.step = step_elsewhere
    train(second, 0, 22)
    assert_same(first, second)


def test_the_number_of_links_is_exact(method, build):
    parts = build(4)
    weights = parts.rule.weights
    before, links = [topology.topology_hash(weight) for weight in weights], [w.nnz for w in weights]
    positions = sum(out * inputs for out, inputs in (weight.shape for weight in weights))

    def check(step):
        now = [weight.nnz for weight in weights]
        if method in (topology.GraNet, topology.GradualPruning, topology.CHTss):
            rewired = step - step % 7
            wanted = round(parts.rule.density.at(rewired) * positions) if rewired else sum(links)
            assert sum(now) == min(wanted, sum(links))
        elif method in (topology.SNFS, topology.DSR):
            assert sum(now) == sum(links)
        elif method in (topology.NarangPruning, topology.ImportanceSET):
            assert all(new <= old for new, old in zip(now, links, strict=True))
        else:
            assert now == links

    train(parts, 0, 40, check)
    for weight in weights:
        assert_valid(weight)
    changed = [
        topology.topology_hash(weight) != old for weight, old in zip(weights, before, strict=True)
    ]
    assert any(changed) != (method is topology.Static)


def test_links_that_return_may_stay(method, build):
    """With keep_returning, every link that exists before and after a rewiring has stayed."""
    pruning = (topology.GradualPruning, topology.NarangPruning, topology.ImportanceSET)
    if method in (topology.Static, topology.DeepR, topology.PeriodicDeepR, *pruning):
        pytest.skip("no link returns, or it must not keep its value")
    arguments = inspect.signature(method).parameters
    parts, required = build(5), {"steps": 40, "density": 0.1}
    options = {name: value for name, value in required.items() if name in arguments}
    assert method(parts.model, parts.optimizer, keep_returning=True, **options).keep_returning
    parts = build(5)
    parts.rule.keep_returning = True
    stayed = []

    def observe(name, weight, rewired):
        now = {*rewired.links.positions().tolist()}
        kept = int((rewired.slot_map >= 0).sum())
        assert kept == len(now & positions[weight])
        stayed.append(kept)

    parts.rule.observers.append(observe)
    positions = {}

    def look(step):
        positions.update({w: {*w.pattern.links.positions().tolist()} for w in parts.rule.weights})

    look(0)
    train(parts, 0, 22, look)
    assert len(stayed) == 3 * len(parts.rule.weights)


def test_options_that_all_methods_share(method, build):
    if method is topology.Static:
        pytest.skip("takes a model and an optimizer only")
    parts, observers = build(5), (lambda *_: None,)
    required = {"steps": 40, "density": 0.1, "last": 30, "ramp": topology.NarangRamp(1, 5, 9)}
    own = inspect.signature(method).parameters
    options = {name: value for name, value in required.items() if name in own}
    rewiring = method(parts.model, parts.optimizer, seed=7, observers=observers, **options)
    assert rewiring.seed == 7 and rewiring.observers == [*observers]
    with pytest.raises(TypeError, match="seeds"):
        method(parts.model, parts.optimizer, seeds=7, **options)
