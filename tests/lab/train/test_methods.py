"""Every method that the command line offers trains, resumes and takes its options."""

import pytest

from sparse_engine.lab.train import METHODS, Method


def of(name):
    method = Method(name, fraction=0.25, every=3, final_density=0.1)
    return lambda model, optimizer: method.make(model, optimizer, steps=20, density=0.3, seed=7)


@pytest.mark.parametrize("name", METHODS)
def test_a_run_that_is_resumed_equals_one_that_never_stopped(name, tmp_path, start):
    whole = start(tmp_path / "whole", method=of(name))
    assert type(whole.rewiring) is METHODS[name].kind
    whole.train(progress=False)
    # Its checkpoint after 5 steps is within every window of gradients before the rewiring at 6.
    stopped = start(tmp_path / "parts", method=of(name), at_step=stop_at(7))
    with pytest.raises(InterruptedError):
        stopped.train(progress=False)
    resumed = start(tmp_path / "parts", method=of(name), resume=True)
    assert resumed.step == 5
    resumed.train(progress=False)
    for file in ("checkpoint.json", "checkpoint-00000020.safetensors", "metrics.jsonl"):
        ours, theirs = tmp_path / "whole" / file, tmp_path / "parts" / file
        assert ours.read_bytes() == theirs.read_bytes(), file


def stop_at(number):
    def at_step(step):
        if step == number:
            raise InterruptedError

    return at_step


def test_options_reach_the_method(start, tmp_path):
    rewirings = {name: start(tmp_path / name, method=of(name)).rewiring for name in METHODS}
    for name, rewiring in rewirings.items():
        if name not in ("static", "deep-r-langevin"):
            seed = 0 if name in ("pruning", "narang") else 7
            assert (rewiring.every, rewiring.seed) == (3, seed), name
        if name not in ("static", "deep-r", "deep-r-langevin", "pruning", "narang"):
            assert rewiring.fraction.at(0) == 0.25, name
    assert rewirings["rigl"].fraction.at(15) == 0 < rewirings["rigl"].fraction.at(14)
    assert rewirings["snfs"].fraction.at(20) == 0.005 < rewirings["snfs"].fraction.at(19)
    assert rewirings["granet"].density.at(0) == rewirings["pruning"].density.at(0) == 0.3
    assert rewirings["granet"].density.at(6) == rewirings["pruning"].density.at(10) == 0.1
    assert rewirings["pruning"].density.at(9) > 0.1
