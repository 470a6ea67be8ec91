"""Sweeps and searches whose processes are ended, and that go on by the same command."""

import os
import random
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.exhaustive

SEARCH = Path(__file__).parents[2] / "examples" / "search.py"

SWEEP = shlex.split(
    "sweep digits --seeds 0 1 --methods set rigl --steps 400 --every 20 --hidden 32 "
    "--evaluate-every 40 --save-every 30 --workers 2"
)


def sweep(folder):
    command = [sys.executable, "-m", "sparse_engine", *SWEEP, "--out", str(folder)]
    # A session of its own, as in a terminal of its own.
    return subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL)


def wait_for_all(group):
    """Wait for the last process of a group, workers that save their runs included."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    os.killpg(group, signal.SIGKILL)
    pytest.fail("workers go on")


def files(folder):
    return {
        path.relative_to(folder): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".png" and path.name != "result.json"
    }


def test_a_sweep_that_is_ended_again_and_again_goes_on(tmp_path):
    moments = random.Random(0)
    for kind in (signal.SIGKILL, signal.SIGINT, signal.SIGTERM):
        process = sweep(tmp_path / "parts")
        time.sleep(moments.uniform(2, 12))
        if kind == signal.SIGINT:
            os.killpg(process.pid, kind)  # Ctrl-C goes to all processes of a terminal
        else:
            process.send_signal(kind)
        process.wait(timeout=60)
        wait_for_all(process.pid)
    assert sweep(tmp_path / "parts").wait(timeout=300) == 0
    assert sweep(tmp_path / "whole").wait(timeout=300) == 0
    assert files(tmp_path / "parts") == files(tmp_path / "whole")


def test_a_search_loses_one_trial_with_a_process(tmp_path):
    """Two processes share the trials; one is killed in the middle of a trial, and another joins."""
    optuna = pytest.importorskip("optuna")
    from optuna.storages.journal import JournalFileBackend

    command = [sys.executable, str(SEARCH), "--trials", "10", "--steps", "400", "--out", "search"]

    def begin():
        return subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL)

    def trials():
        backend = JournalFileBackend(str(tmp_path / "search" / "trials.log"))
        return optuna.load_study(
            study_name="search", storage=optuna.storages.JournalStorage(backend)
        ).trials

    killed, other = begin(), begin()
    while not (tmp_path / "search" / "trial=1" / "metrics.jsonl").exists():
        assert killed.poll() is None and other.poll() is None
        time.sleep(0.05)
    killed.kill()
    killed.wait()
    joined = begin()
    assert other.wait(timeout=300) == joined.wait(timeout=300) == 0
    states = [trial.state.name for trial in trials()]
    assert states.count("RUNNING") <= 1 and {*states} <= {"COMPLETE", "PRUNED", "RUNNING"}
    assert 10 <= len(states) - states.count("RUNNING") <= 11
