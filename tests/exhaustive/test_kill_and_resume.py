"""Runs that are killed over and over, and run folders that are damaged in every way."""

import subprocess
import sys
from pathlib import Path

import pytest

from sparse_engine.lab.train import METHODS

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
    (killed,) = output_of("kill_rounds.py", method, tmp_path, 3, timeout=500)
    assert killed == 3


def test_no_damage_goes_unnoticed(tmp_path):
    exact, refused = output_of("damage.py", tmp_path, 13, timeout=600)
    assert exact > 0 and refused > 400
