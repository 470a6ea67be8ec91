"""Runs that are killed over and over, and run folders that are damaged in every way."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sparse_engine.topology.methods import METHODS

SCRIPTS = Path(__file__).resolve().parents[1] / "lab" / "train"
NAMES = sorted(entry.kind.__name__ for entry in METHODS.values())


def output_of(script, *arguments, timeout):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", script, *map(str, arguments)],
        cwd=SCRIPTS,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [int(number) for number in done.stdout.split()]


@pytest.mark.parametrize("method", NAMES)
def test_a_run_killed_at_random_moments_equals_one_that_never_stopped(tmp_path, method):
    (killed,) = output_of("kill_rounds.py", method, tmp_path, 5, timeout=500)
    assert killed == 5


def test_no_damage_goes_unnoticed(tmp_path):
    exact, refused = output_of("damage.py", tmp_path, 5, timeout=600)
    assert exact > 0 and refused > 1000


COMMAND = [sys.executable, "-W", "ignore", "-m", "sparse_engine", "train", "mackey-glass"]
COMMAND += [
    "--hidden",
    "16",
    "--steps",
    "200",
    "--every",
    "7",
    "--method",
    "rigl",
    "--threads",
    "1",
]


def command(folder):
    resume = ["--resume"] if folder.exists() and any(folder.iterdir()) else []
    return [*COMMAND, "--out", str(folder), *resume]


def test_commands_killed_at_random_moments_equal_one_that_never_stopped(tmp_path):
    """The same with the command as it is, from the start of its process on."""
    whole, parts, moments = tmp_path / "whole", tmp_path / "parts", random.Random(0)
    began = time.perf_counter()
    subprocess.run(command(whole), check=True, capture_output=True)
    seconds = time.perf_counter() - began
    for _ in range(15):
        process = subprocess.Popen(command(parts), stderr=subprocess.PIPE, stdout=subprocess.PIPE)
        time.sleep(moments.uniform(0, seconds))
        process.send_signal(moments.choice([signal.SIGKILL, signal.SIGINT]))
        complaint = process.communicate(timeout=120)[1].decode()
        assert "sparse-engine:" not in complaint
        assert process.returncode != 2, complaint
    subprocess.run(command(parts), check=True, capture_output=True)
    names = set(os.listdir(whole))
    assert set(os.listdir(parts)) == names
    for name in names - {"result.json"}:  # which has the time
        assert (parts / name).read_bytes() == (whole / name).read_bytes(), name
