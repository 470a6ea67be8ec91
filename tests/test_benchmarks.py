"""The benchmarks run, in their smallest form, and compare what is the same."""

import importlib
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from sparse_engine.testing import random_pattern

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def module(monkeypatch):
    """Imports one of the benchmarks' modules, which are no part of the package."""
    monkeypatch.syspath_prepend(ROOT)
    return lambda name: importlib.import_module(f"benchmarks.{name}")


@pytest.mark.parametrize("name", ["train_step", "linear", "kernels"])
def test_a_benchmark_reports_what_it_measured(module, name, tmp_path):
    file = tmp_path / "new" / "result.json"
    command = [sys.executable, "-m", f"benchmarks.{name}", "--quick", "--threads", "1"]
    printed = subprocess.run(
        [*command, "--json", file], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    record = json.loads(file.read_text())
    assert record["benchmark"] == name
    assert record["machine"]["threads"] == 1
    assert {"date", "processor", "cores", "torch", "isa"} <= record["machine"].keys()
    for row in record["rows"]:
        for timing in row["times"].values():
            assert 0 < timing["lower"] <= timing["median"] <= timing["upper"]
            assert timing["runs"] >= 5
    assert "sparse_engine 0" in printed
    markdown = module("table").markdown(record, []).splitlines()
    assert len(markdown) == len(record["rows"]) + 4
    assert "times" not in markdown[0]


def test_contestants_take_turns(module):
    order = []
    cases = {name: lambda name=name: order.append(name) for name in "ABC"}
    timings = module("_harness").measure(cases, repeats=7, warmup=2, min_time=0.0)
    assert order == list("ABC") * 7  # two turns to warm up, and five at least
    assert {name: timing.runs for name, timing in timings.items()} == dict.fromkeys("ABC", 5)


def test_a_quick_contestant_runs_more_often(module):
    cases = {"slow": lambda: time.sleep(0.02), "quick": lambda: None}
    timings = module("_harness").measure(cases, repeats=10, min_time=0.05)
    assert timings["slow"].runs >= 5
    assert timings["quick"].runs > 5 * timings["slow"].runs


def test_quartiles(module):
    timing = module("_harness").Timing.of([5.0, 1.0, 3.0, 2.0, 4.0])
    assert (timing.lower, timing.median, timing.upper, timing.runs) == (2.0, 3.0, 4.0, 5)


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

    contest.check({"right": linear(None), "too": linear(None)}, upstream, pattern)
    with pytest.raises(AssertionError, match=f"odd, {part}"):
        contest.check({"right": linear(None), "odd": linear(part)}, upstream, pattern)
