"""Sweeps whose processes are ended at random moments, and that go on by the same command."""

import os
import random
import shlex
import signal
import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.exhaustive

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
