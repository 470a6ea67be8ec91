"""Files and sizes that the command line cannot use: one line that says why, and status 2."""

import os
import sys

import numpy as np
import pytest
import torch
from fresh_process import run_script
from safetensors.torch import save_file
from testing import random_pattern

from sparse_engine.lab.cli import main
from sparse_engine.nn import GroupedWeight, SparseRNN


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def refused(capsys):
    """The one line that a user sees when a command cannot be done."""

    def check(*arguments):
        assert main([*map(str, arguments)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("sparse-engine: ")
        return line

    return check


@pytest.mark.parametrize(
    "command", [("analyze",), ("distance", "nothing.csv"), ("resume",), ("watch",)]
)
def test_what_is_not_there_is_named(refused, command):
    line = refused(*command, "nothing.csv")
    assert "expected" in line and "nothing.csv" in line and "Errno" not in line


def plain():
    return SparseRNN(2, 8, density=0.3).state_dict()


def grouped():
    rnn = SparseRNN(2, 8, density=0.3)
    rnn.weight_hh_l0 = GroupedWeight(torch.randn(20), random_pattern(8, 8, 20))
    return rnn.state_dict()


W = "weight_hh_l0."
STATES = {
    "no columns": (plain, "col_indices", None, "expected an entry col_indices, found none"),
    "no values": (plain, "values", None, "expected an entry base, found none"),
    "0-d pointers": (plain, "crow_indices", torch.tensor(3), "found shape []"),
    "no pointers": (plain, "crow_indices", torch.zeros(0).long(), "at least one row"),
    "infinite pointers": (
        plain,
        "crow_indices",
        torch.full((9,), torch.inf),
        "found torch.float32",
    ),
    "matrix of columns": (plain, "col_indices", torch.zeros(2, 2).long(), "found shape [2, 2]"),
    "uint64 columns": (
        plain,
        "col_indices",
        torch.from_numpy(np.full(19, 2**64 - 1, np.uint64)),
        "expected col_indices that torch.int64 can hold, found 18446744073709551615",
    ),
    "far column": (
        plain,
        "col_indices",
        torch.full((19,), 2_000_000_000),
        "columns below 10,000,000 with 19 links",
    ),
    "bfloat16": (plain, "values", torch.ones(19).bfloat16(), "found torch.bfloat16"),
    "complex": (plain, "values", torch.ones(19) * 1j, "found torch.complex64"),
    "uint64 values": (plain, "values", torch.ones(19).to(torch.uint64), "found torch.uint64"),
    "group": (grouped, "group", torch.full((20,), 7), "expected group in [0, 1), found 7"),
    "negative group": (grouped, "group", torch.full((20,), -1), "in [0, 1), found -1"),
    "matrix of gains": (grouped, "gain", torch.ones(1, 1), "found shape [1, 1]"),
    "few of the base": (grouped, "base", torch.ones(3), "expected floating-point values of shape"),
}


@pytest.mark.parametrize("command", ["analyze", "distance"])
@pytest.mark.parametrize("case", STATES)
def test_state_dicts(refused, command, case):
    state, name, entry, message = STATES[case]
    entries = {key: each.clone() for key, each in state().items()}
    entries.pop(W + name) if entry is None else entries.update({W + name: entry})
    save_file(entries, "model.safetensors")
    files = ["model.safetensors"] * (1 + (command == "distance"))
    line = refused(command, *files)
    assert message in line and "model.safetensors" in line


def test_text(refused, tmp_path):
    (tmp_path / "w.csv").write_bytes(b"\xff\xfe\x00")
    assert "expected an edge list in w.csv, found no text" in refused("analyze", "w.csv")
    (tmp_path / "w.txt").write_text("x" * 10**6)
    assert len(refused("analyze", "w.txt")) < 300


def test_options_of_edge_lists(refused):
    save_file(plain(), "model.safetensors")
    for option in (["--nodes", "9"], ["--format", "edges"]):
        assert "for edge lists only" in refused("analyze", "model.safetensors", *option)
    files = ["model.safetensors"] * 2
    assert "for edge lists only" in refused("distance", *files, "--nodes", "9")


@pytest.mark.parametrize("command", ["analyze", "distance"])
def test_few_links_of_far_units(refused, tmp_path, command):
    (tmp_path / "w.txt").write_text("0\t2000000000\n")
    files = ["w.txt"] * (1 + (command == "distance"))
    line = refused(command, *files)
    assert "below 10,000,000 with 1 links, found 2000000000 in line 1 of w.txt" in line
    assert "--nodes" in line
    assert "nodes in [0, 2^31), found -1" in refused(command, *files, "--nodes", "-1")
    assert "found 2000000000 at position 0" in refused(command, *files, "--nodes", "3")


def test_nodes(tmp_path, capsys):
    (tmp_path / "w.txt").write_text("0\t1\t-1\n")
    assert main(["analyze", "w.txt", "--nodes", "5"]) == 0
    assert "nodes                              5" in capsys.readouterr().out
    assert main(["distance", "w.txt", "w.txt", "--nodes", "5"]) == 0


def test_memory_that_is_not_there(tmp_path):
    """Within 4 GB of address space beyond what the libraries take."""
    (tmp_path / "w.txt").write_text("0\t2000000000\n")
    code = """
import resource, sys
from sparse_engine.lab.cli import main
taken = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (taken + 2**32,) * 2)
for command in (
    ["analyze", "w.txt", "--nodes", "2000000001"],
    ["train", "mackey-glass", "--hidden", "2000000000", "--density", "1e-18", "--out", "run"],
):
    assert main(command) == 2
"""
    done = run_script(code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    of_file, of_run = done.stderr.splitlines()
    weight = "a 2000000001 x 2000000001 weight of w.txt"
    assert of_file.startswith(f"sparse-engine: expected memory for {weight}, found too little for ")
    assert "expected links and states that fit into" in of_run
    assert "found 2,000,000,000 units" in of_run


@pytest.mark.parametrize("command", [["info"], ["--help"], ["distance", "w.txt", "w.txt"]])
def test_a_closed_pipe(refused, tmp_path, monkeypatch, command):
    """A closed pipe, as of ``sparse-engine info | true``."""
    (tmp_path / "w.txt").write_text("0\t1\n")
    read, write = os.pipe()
    os.close(read)
    # What is left in its buffer when it is closed, as at exit, would raise once more.
    with open(write, "w") as output:
        monkeypatch.setattr(sys, "stdout", output)
        line = refused(*command)
    assert line == "sparse-engine: expected a reader of the output, found its pipe closed"
