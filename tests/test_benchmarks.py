"""The benchmarks run, in their smallest form, and compare what is the same."""

import importlib
import json
import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

from sparse_engine import ops
from sparse_engine.testing import random_pattern

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
    assert {"date", "processor", "cores", "torch", "isa"} <= record["machine"].keys()
    for row in record["rows"]:
        for timing in row["times"].values():
            assert 0 < timing["lower"] <= timing["median"] <= timing["upper"]
            assert timing["runs"] >= (2 if name == "set_mlp" else 5)
    assert "sparse_engine 0" in printed
    markdown = module("table").markdown(record, []).splitlines()
    assert len(markdown) == len(record["rows"]) + 4
    assert "times" not in markdown[0]


@pytest.mark.exhaustive
def test_a_language_model_is_compared_and_what_is_missing_is_added(tmp_path):
    for name in ("valid", "test"):
        (tmp_path / f"{name}.txt").write_text("the cat sat on the mat\n" * 12)
    file = tmp_path / "result.json"
    command = [sys.executable, "-m", "benchmarks.language_model", "--quick", "--threads", "1"]
    for seeds in ("1", "2"):
        options = ["--data", tmp_path, "--json", file, "--seeds", seeds]
        subprocess.run([*command, *options], cwd=ROOT, check=True, capture_output=True)
        record = json.loads(file.read_text())
        models = ("sparse", "dense", "sparse, published start")
        expected = [(model, k + 1) for k in range(int(seeds)) for model in models]
        assert [(row["model"], row["seed"]) for row in record["rows"]] == expected
    assert set(record["steps"]) > {"sparse", "dense", "all links"}
    for row in record["rows"]:
        for name in ("plain", "averaged"):
            assert len(row["curves"][name]) == 6
            assert row[f"validation, {name}"] == min(row["curves"][name])


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


def test_a_new_process_returns_what_its_function_does(module):
    assert module("_memory").in_new_process(divmod, 7, 2) == (3, 1)


def test_shares_of_operations(module):
    profile, scores = module("_profile"), torch.randn(100_000)
    found = profile.shares(lambda: ops.smallest(scores.neg(), 10_000))
    assert {"smallest", "neg"} <= found.keys()
    assert sum(found.values()) == pytest.approx(1)
    assert [*found.values()] == sorted(found.values(), reverse=True)
    assert profile.as_percent({"a": 0.7, "b": 0.26, "c": 0.04}) == "a 70%, b 26%"


def test_cuts_of_the_seeds(module):
    # The value nearest zero is at 4: floor(0.7 * 4) = 2 and floor(5 + 0.3 * 5) = 6.
    values = np.array([3.0, -1, 5, -4, 2, -2, 1, -5, 4, -3])
    assert module("topology.seeds").cuts(values, 0.3) == (-3, 2)


@pytest.mark.parametrize("density", [0.1, 0.98])
@pytest.mark.parametrize("program", ["evolve_links", "evolve_records", "evolve_keys"])
def test_evolution_of_the_seeds(module, program, density):
    seeds, generator = module("topology.seeds"), np.random.default_rng(0)
    mask = generator.random((30, 20)) < density
    weights, velocity = (np.where(mask, generator.normal(size=mask.shape), 0) for _ in range(2))
    velocity[::3] = 0
    layer = seeds.Layer(csr_array(weights), csr_array(velocity))
    found = getattr(seeds, program)(layer, 0.3, generator)
    lower, upper = seeds.cuts(weights[mask], 0.3)
    kept = (weights < lower) | (weights > upper)
    assert 0 < kept.sum() < mask.sum()
    np.testing.assert_array_equal(found.weights.toarray()[kept], weights[kept])
    np.testing.assert_array_equal(found.velocity.toarray(), np.where(kept, velocity, 0))
    assert found.weights.nnz == np.count_nonzero(found.weights.toarray()) == mask.sum()


def test_a_seed_that_drops_other_links_is_noticed(module, monkeypatch):
    contest = module("topology.bench_seeds")
    weight = contest.normal_weight(contest.QUICK[0])
    contest.check(weight)
    monkeypatch.setattr(contest, "cuts", lambda values, fraction: (-0.05, 0.1))
    with pytest.raises(AssertionError, match="the same links to go"):
        contest.check(weight)
