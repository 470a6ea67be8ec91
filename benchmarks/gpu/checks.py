"""Tests on the device, and a few of them watched by compute-sanitizer."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time

from benchmarks.gpu.record import Record

TESTS = [
    *(sys.executable, "-m", "pytest", "-q", "-m", "", "-k", "on_device"),
    *("-p", "no:cacheprovider", "--tb", "short", "--maxfail", "20"),
    "--continue-on-collection-errors",  # packages that few tests need may be absent
]
WATCHED = "tests/exhaustive/cuda/test_operations.py::test_products"
TOOLS = ("memcheck", "racecheck", "synccheck")
# Otherwise arrays are parts of larger blocks, out of which no access is an error.
UNCACHED = {"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}


def commands() -> dict[str, list[str]]:
    """The checks by name, those first that say most."""
    found = {"kernels": [*TESTS, "tests/exhaustive/cuda"], "tests": [*TESTS, "tests"]}
    if shutil.which("compute-sanitizer"):
        for tool in TOOLS:
            watch = ["compute-sanitizer", "--tool", tool, "--error-exitcode", "1"]
            found[tool] = [*watch, *TESTS, WATCHED]
    return found


def check(record: Record, deadline: float) -> None:
    """Run each check that has not passed before, and keep the end of what it prints."""
    for name, command in commands().items():
        if record.checks.get(name, {}).get("passed"):
            continue
        left = deadline - time.time()
        if left < 5:
            return
        environment = {**os.environ, **(UNCACHED if name in TOOLS else {})}
        # Tests leave half of the time to the checks behind them.
        seconds = left if name in TOOLS else left / 2
        record.checks[name] = outcome(command, environment, seconds)
        record.write()


def outcome(command: list[str], environment: dict[str, str], seconds: float) -> dict[str, object]:
    """Run a command for so many seconds at the most."""
    began = time.time()
    try:
        done = subprocess.run(
            command,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=seconds,
            check=False,
        )
        printed, passed = done.stdout, done.returncode == 0
    except subprocess.TimeoutExpired as expired:
        printed, passed = (expired.stdout or b"") + b"\n(no time was left)", False
    end = printed.decode(errors="replace")[-4000:]
    return {"passed": passed, "seconds": round(time.time() - began, 1), "printed": end}
