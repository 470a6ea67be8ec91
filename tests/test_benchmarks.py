"""The benchmarks run, in their smallest form, and compare what is the same."""

import importlib
import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest
import torch
from testing import random_pattern

from sparse_engine.nn import SparseLSTM

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def module(monkeypatch):
    """Imports one of the benchmarks' modules, which are no part of the package."""
    monkeypatch.syspath_prepend(ROOT)
    return lambda name: importlib.import_module(f"benchmarks.{name}")


@pytest.mark.parametrize(
    "name",
    [
        "train_step",
        *(
            pytest.param(name, marks=pytest.mark.exhaustive)
            for name in ("set_mlp", "quantized", "linear", "busy", "inference", "online")
        ),
    ],
)
@pytest.mark.usefixtures("threads")
def test_a_benchmark_reports_what_it_measured(module, name, tmp_path, monkeypatch, capsys):
    file = tmp_path / "new" / "result.json"
    monkeypatch.setattr(sys, "argv", ["", "--quick", "--threads", "1", "--json", str(file)])
    main = ModuleType("__main__")  # where types of the command line are looked up
    main.__file__ = module(name).__file__
    monkeypatch.setitem(sys.modules, "__main__", main)
    exec(compile(Path(main.__file__).read_text(), main.__file__, "exec"), vars(main))
    printed = capsys.readouterr().out
    record = json.loads(file.read_text())
    assert record["benchmark"] == name
    assert record["machine"]["threads"] == 1
    named = {"date", "processor", "family", "caches", "cores", "commit", "torch", "isa"}
    assert named <= record["machine"].keys()
    for row in record["rows"]:
        for timing in row["times"].values():
            assert 0 < timing["lower"] <= timing["median"] <= timing["upper"]
            assert timing["runs"] >= (2 if name == "set_mlp" else 5)
    assert "sparse_engine 0" in printed
    markdown = module("table").markdown(record, []).splitlines()
    assert len(markdown) == len(record["rows"]) + 4
    assert "times" not in markdown[0]


@pytest.mark.exhaustive
@pytest.mark.parametrize("folder", ["ops", "topology", "graph"])
def test_single_operations_are_cases_of_pytest_benchmark(module, folder, tmp_path):
    file = tmp_path / "result.json"
    command = [sys.executable, "-m", "pytest", "--override-ini", "python_files=bench_*.py"]
    rounds = ["--benchmark-max-time=0", "--benchmark-min-rounds=2", "--quick"]
    # pytest-benchmark would look for workers of pytest-xdist there, and measure nothing.
    env = {name: each for name, each in os.environ.items() if "XDIST" not in name}
    subprocess.run(
        [*command, *rounds, f"--benchmark-json={file}", f"benchmarks/{folder}"],
        cwd=ROOT,
        check=True,
        env=env,
    )
    record = json.loads(file.read_text())
    cases = {each["fullname"].partition("::")[0] for each in record["benchmarks"]}
    assert cases == {
        f"benchmarks/{folder}/{f.name}" for f in ROOT.glob(f"benchmarks/{folder}/bench_*")
    }
    assert not any("data" in each["stats"] for each in record["benchmarks"])
    markdown = module("table").markdown(record, []).splitlines()
    assert len(markdown) == len(record["benchmarks"]) + 4


def test_contestants_take_turns(module):
    order = []
    cases = {name: lambda name=name: order.append(name) for name in "ABC"}
    timings = module("_harness").measure(cases, repeats=5, min_time=0.0)
    assert order == list("AABBCC") * 5  # of two runs each, the first does not count
    assert {name: timing.runs for name, timing in timings.items()} == dict.fromkeys("ABC", 5)


@pytest.mark.parametrize("part", ["output", "links", "bias"])
def test_contestants_that_differ_are_named(module, part):
    contest = module("_contest")
    pattern = random_pattern(6, 5, 12)
    x, upstream = torch.randn(4, 5), torch.randn(4, 6)

    def linear(wrong):
        values = torch.arange(12.0).requires_grad_()
        bias = torch.arange(6.0).requires_grad_()

        def forward():
            y = x @ pattern.dense(values).T + bias
            if wrong == "output":
                return y + 1
            if wrong is not None:  # the same output with another gradient
                leaf = {"links": values, "bias": bias}[wrong]
                return y + leaf.sum() - leaf.sum().detach()
            return y

        return contest.Contestant(forward, {"links": values, "bias": bias})

    contest.check({"right": linear(None), "too": linear(None)}, upstream, {"links": pattern})
    with pytest.raises(AssertionError, match=f"odd, {part}"):
        contest.check({"right": linear(None), "odd": linear(part)}, upstream, {"links": pattern})


# Cases of which one raises an error, one ends the process, and one leaves an unusable device.
PROGRAM = """
import os, sys
from pathlib import Path
from benchmarks.gpu.cases import Case, go_over
from benchmarks.gpu.record import Record

def fail(message): raise RuntimeError(message)

cases = [
    Case("first", lambda: [{"us": 1.0}]),
    Case("raises", lambda: fail("out of memory")),
    Case("crashes", lambda: os._exit(9)),
    Case("second", lambda: [{"us": 2.0}, {"us": 3.0}]),
    Case("poisons", lambda: fail("CUDA error: an illegal memory access was encountered")),
    Case("third", lambda: [{"us": 4.0}]),
]
go_over(cases, Record.of(Path(sys.argv[1]), {"device": "none"}), float(sys.argv[2]))
"""


@pytest.mark.exhaustive
def test_whatever_fails_the_rest_is_measured(module, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    cases, record = module("gpu.cases"), module("gpu.record")
    file = tmp_path / "new" / "gpu.json"

    def read():
        return record.Record.of(file, {"device": "none"})

    command = [sys.executable, "-c", PROGRAM, str(file), "4e9"]
    cases.supervise(command, read, time.time() + 60)
    found = read()
    assert [row["us"] for row in found.all_rows()] == [1.0, 2.0, 3.0, 4.0]
    assert [*found.rows] == ["first", "second", "third"]
    assert found.failures["raises"] == "RuntimeError: out of memory"
    assert found.failures["crashes"] == "the process ended with 9"
    assert "illegal memory" in found.failures["poisons"]
    assert found.begun is None

    before = file.read_bytes()
    subprocess.run(command, check=True)
    assert file.read_bytes() == before  # all is done
    assert not record.Record.of(file, {"device": "another"}).rows


def test_a_process_that_hangs_is_ended(module, tmp_path, monkeypatch):
    cases = module("gpu.cases")
    found = module("gpu.record").Record.of(tmp_path / "gpu.json", {})
    found.begun = "hangs"
    deadline = time.time() + 60

    def run(*_, **__):
        monkeypatch.setattr(cases.time, "time", lambda: deadline)
        raise subprocess.TimeoutExpired("python", 1)

    monkeypatch.setattr(cases.subprocess, "run", run)
    cases.supervise([], lambda: found, deadline)
    assert found.failures == {"hangs": "the process did not end in time"}


def test_the_page_has_the_times_of_the_model(module):
    model = module("gpu.model")
    assert model.table() in (ROOT / "csrc/README.md").read_text()
    assert model.device_called("NVIDIA H100 80GB HBM3") is model.H100
    assert model.device_called("Tesla T4") is None


@pytest.mark.parametrize("structure", ["free", "shared by gates", "4 x 1", "4 x 4", "1 x 4"])
def test_groups_of_links_live_and_die_as_one(module, structure):
    blocks = module("blocks")
    groups = blocks.STRUCTURES[structure]
    network = SparseLSTM(8, 16, density=0.25)
    weight, optimizer = network.weight_hh_l0, torch.optim.Adam(network.parameters())
    rewiring = blocks.grouped(network, optimizer, groups=groups, fraction=0.3, every=1, seed=1)
    before = {*weight.pattern.links.positions().tolist()}
    for _ in range(3):
        network(torch.randn(3, 2, 8))[0].sum().backward()
        optimizer.step()
        rewiring.step()
    copies = 4 if groups.gates else 1
    seen = Counter(
        (row % (64 // copies) // groups.rows, col // groups.cols)
        for row, col in zip(weight.rows().tolist(), weight.col_indices.tolist(), strict=True)
    )
    assert {*seen.values()} == {groups.rows * groups.cols * copies}
    assert weight.nnz == 256 and before != {*weight.pattern.links.positions().tolist()}
