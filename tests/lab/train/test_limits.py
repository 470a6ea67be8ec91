"""Runs that no machine, or not this one, can hold are refused in a line."""

import pytest
import torch

from sparse_engine.lab.networks import limits


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hidden": 10_000_000}, r"fewer than 2\^31 links, found 30,000,000,000,000,"),
        ({"hidden": 10**400}, r"fewer than 2\^31 units, found 10"),
    ],
)
def test_a_network_too_large_is_refused_before_it_is_made(tmp_path, start, settings, message):
    with pytest.raises(ValueError, match=message):
        start(tmp_path / "run", **settings)
    assert not (tmp_path / "run").exists()


def test_the_memory_of_this_machine_is_the_bound(monkeypatch):
    links, states = round(0.1 * 500**2), 500 * 60
    needed = links * limits.BYTES_PER_LINK + states * limits.BYTES_PER_STATE
    monkeypatch.setattr(limits, "memory", lambda: needed)
    limits.check_size(500, 0.1, 60)
    with pytest.raises(ValueError, match=r"found 501 units, 25,100 links and 30,060 states"):
        limits.check_size(501, 0.1, 60)


def test_memory_is_that_of_the_machine():
    assert 2**28 < limits.memory() < 2**50


def test_memory_that_a_step_cannot_have_is_one_line(tmp_path, start):
    run = start(tmp_path, at_step=lambda step: torch.empty(2**60))
    with pytest.raises(MemoryError, match=r"^expected memory for a run \(fewer.*found too little"):
        run.train(progress=False)


def test_other_errors_of_a_step_are_what_they_are(tmp_path, start):
    def fail(step):
        raise RuntimeError("another")

    with pytest.raises(RuntimeError, match=r"^another$"):
        start(tmp_path, at_step=fail).train(progress=False)
