"""A run that is killed at any moment can be loaded again."""

import os
from pathlib import Path

import pytest
import torch
from fresh_process import run_script
from torch import nn

from sparse_engine.lab.train import Checkpoint
from sparse_engine.nn import SparseLinear
from sparse_engine.topology import Static


class Killed(BaseException):
    pass


class Writer:
    """Saves checkpoints whose every number is their step."""

    def __init__(self):
        self.model = nn.Sequential(SparseLinear(6, 6, density=0.5))
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)
        self.rule = Static(self.model, self.optimizer)

    def save(self, step, folder):
        with torch.no_grad():
            for parameter in self.model.parameters():
                parameter.fill_(step)
        Checkpoint.of(step, self.model, self.optimizer, self.rule).save(folder)


def loaded_step(folder):
    checkpoint = Checkpoint.load(folder)
    assert set(checkpoint.model["0.weight.values"].tolist()) == {checkpoint.step}
    return checkpoint.step


def kill_at_call(monkeypatch, number):
    """Raises at the given call of any function that changes the disk; returns what was called."""
    calls = []

    def patch(owner, name):
        original = getattr(owner, name)

        def counted(*arguments):
            calls.append(name)
            if len(calls) == number:
                raise Killed
            return original(*arguments)

        monkeypatch.setattr(owner, name, counted)

    patch(os, "fsync")
    patch(os, "replace")
    patch(Path, "unlink")
    return calls


def test_a_kill_between_any_two_writes_leaves_one_whole_checkpoint(tmp_path, monkeypatch):
    writer = Writer()
    survivors = []
    for number in range(1, 100):
        folder = tmp_path / str(number)
        folder.mkdir()
        writer.save(1, folder)
        with monkeypatch.context() as context:
            calls = kill_at_call(context, number)
            try:
                writer.save(2, folder)
            except Killed:
                survivors.append(loaded_step(folder))
            else:
                break
        writer.save(3, folder)
        assert loaded_step(folder) == 3
        assert len(list(folder.iterdir())) == 2
    # A file, its name, the folder's list of names: for the tensors, then for the record.
    assert calls == ["fsync", "replace", "fsync"] * 2 + ["unlink"]
    assert survivors == [1, 1, 1, 1, 1, 2, 2]


def run_here(script, folder):
    """Runs Python with this folder's modules at hand, in a process of one thread."""
    script = f"import torch; torch.set_num_threads(1)\n{script}"
    return run_script(script, str(folder), cwd=Path(__file__).parent)


# The rounds and damages of tests/exhaustive, but a few of them.
KILL_ROUNDS = """
import pathlib, sys, kill_rounds
kill_rounds.main("SET", pathlib.Path(sys.argv[1]), 3)
"""
DAMAGE = """
import pathlib, sys, damage
damage.main(pathlib.Path(sys.argv[1]), 499)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_run_killed_at_random_moments_equals_one_that_never_stopped(tmp_path):
    done = run_here(KILL_ROUNDS, tmp_path)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 0


def test_no_damage_goes_unnoticed(tmp_path):
    done = run_here(DAMAGE, tmp_path)
    assert done.returncode == 0, done.stderr
    exact, refused = map(int, done.stdout.split())
    assert exact > 0 and refused > 40
