"""The benchmarks run, in their smallest form, and compare what is the same."""

import importlib
import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from testing import random_pattern

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
        pytest.param("set_mlp", marks=pytest.mark.exhaustive),
        pytest.param("quantized", marks=pytest.mark.exhaustive),
        pytest.param("linear", marks=pytest.mark.exhaustive),
        pytest.param("busy", marks=pytest.mark.exhaustive),
        pytest.param("inference", marks=pytest.mark.exhaustive),
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


def memory_after_a_peak(extra_bytes):
    np.ones(25_000_000)
    return extra_bytes(partial(np.ones, 6_250_000))


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux")
@pytest.mark.exhaustive
def test_the_memory_of_a_call_is_its_own(module):
    memory = module("_memory")
    # In a process of its own: this one may have pages to spare, which a call need not ask for.
    assert 49e6 < memory.in_new_process(memory_after_a_peak, memory.extra_bytes) < 60e6


def test_a_seed_that_drops_other_links_is_noticed(module, monkeypatch):
    contest = module("topology.bench_seeds")
    weight = contest.normal_weight(contest.QUICK[0])
    contest.check(weight)
    monkeypatch.setattr(contest, "cuts", lambda values, fraction: (-0.05, 0.1))
    with pytest.raises(AssertionError, match="the same links to go"):
        contest.check(weight)
