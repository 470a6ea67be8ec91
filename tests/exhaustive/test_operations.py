"""Native operations with arguments at random: none of them ends the process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SECONDS = 10
MEMORY_GB = 16


@pytest.mark.parametrize("seed", [1, 1_000_000, 2_000_000])
def test_any_arguments(seed):
    script = Path(__file__).with_name("fuzz.py")
    done = subprocess.run(
        [sys.executable, script, str(seed), str(SECONDS), str(MEMORY_GB)],
        env=os.environ | {"PYTHONPATH": str(script.parents[1])},
        capture_output=True,
        text=True,
        timeout=20 * SECONDS,
        check=False,
    )
    last = done.stdout.split()[-1:]
    assert done.returncode == 0, f"the call of seed {last} ended the process: {done.stderr[-2000:]}"
