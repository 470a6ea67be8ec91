"""The measurements on a GPU survive what fails, on a machine without one."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]
LATER = 4e9

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


@pytest.fixture
def gpu(monkeypatch):
    """The modules of the benchmark, which are no part of the package."""
    monkeypatch.syspath_prepend(ROOT)
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    from benchmarks.gpu import cases, checks, record, timing

    return type("Gpu", (), {"cases": cases, "checks": checks, "record": record, "timing": timing})


@pytest.mark.exhaustive
def test_whatever_fails_the_rest_is_measured(gpu, tmp_path):
    file = tmp_path / "new" / "gpu.json"

    def read():
        return gpu.record.Record.of(file, {"device": "none"})

    command = [sys.executable, "-c", PROGRAM, str(file), str(LATER)]
    gpu.cases.supervise(command, read, time.time() + 60)
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
    assert not gpu.record.Record.of(file, {"device": "another"}).rows


def test_a_process_that_hangs_is_ended(gpu, tmp_path, monkeypatch):
    found = gpu.record.Record.of(tmp_path / "gpu.json", {})
    found.begun = "hangs"
    deadline = time.time() + 60

    def run(*_, **__):
        monkeypatch.setattr(gpu.cases.time, "time", lambda: deadline)
        raise subprocess.TimeoutExpired("python", 1)

    monkeypatch.setattr(gpu.cases.subprocess, "run", run)
    gpu.cases.supervise([], lambda: found, deadline)
    assert found.failures == {"hangs": "the process did not end in time"}


@pytest.mark.exhaustive
def test_every_check_is_made_though_one_fails(gpu, tmp_path, monkeypatch):
    commands = {
        "tests": [sys.executable, "-c", "print('2 failed'); raise SystemExit(1)"],
        "memcheck": [
            *(sys.executable, "-c"),
            "import os; print(os.environ['PYTORCH_NO_CUDA_MEMORY_CACHING'])",
        ],
        "racecheck": [sys.executable, "-c", "import time; time.sleep(60)"],
    }
    monkeypatch.setattr(gpu.checks, "commands", lambda: commands)
    found = gpu.record.Record.of(tmp_path / "gpu.json", {})
    gpu.checks.check(found, time.time() + 7)
    passed = {name: end["passed"] for name, end in found.checks.items()}
    assert passed == {"tests": False, "memcheck": True, "racecheck": False}
    assert found.checks["tests"]["printed"] == "2 failed\n"
    assert "no time was left" in found.checks["racecheck"]["printed"]


class Event:
    """A CUDA event by the clock of the host."""

    def __init__(self, enable_timing: bool) -> None:
        self.at = 0.0

    def record(self) -> None:
        self.at = time.perf_counter()

    def synchronize(self) -> None:
        pass

    def elapsed_time(self, other: "Event") -> float:
        return 1e3 * (other.at - self.at)


def test_a_peer_that_fails_is_left_out_and_the_device_is_kept_busy(gpu, monkeypatch, capsys):
    slept = []
    empty = torch.empty
    for name, stand_in in {
        "Event": Event,
        "_sleep": slept.append,
        "synchronize": lambda: None,
        "empty_cache": lambda: None,
    }.items():
        monkeypatch.setattr(torch.cuda, name, stand_in)
    monkeypatch.setattr(torch, "empty", lambda *_, **__: empty(1))

    def fail():
        raise RuntimeError("backward is not implemented\nat all")

    found = gpu.timing.measure({"ours": lambda: time.sleep(0.002), "CSR": fail}, repeats=4)
    assert [*found] == ["ours"] and found["ours"].runs == 4
    assert min(slept) >= 0.002 * gpu.timing.CYCLES
    assert "CSR is left out: backward is not implemented\n" in capsys.readouterr().out
    slept.clear()
    gpu.timing.measure({"ours": lambda: None}, repeats=4, with_dispatch=True)
    assert not slept
    with pytest.raises(RuntimeError, match="not implemented"):
        gpu.timing.measure({"ours": fail})


def test_the_page_has_the_times_of_the_model(gpu):
    from benchmarks.gpu import model

    assert model.table() in (ROOT / "csrc/README.md").read_text()
    assert model.device_called("NVIDIA H100 80GB HBM3") is model.H100
    assert model.device_called("Tesla T4") is None
