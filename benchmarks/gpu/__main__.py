"""Checks and measures on one CUDA device: the tests that need one, a memory checker, the times.

Writes benchmarks/results/gpu-<name of the device>.json. Needs a build with CUDA (``make cuda``),
and no network.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro

from benchmarks._harness import Options
from benchmarks._report import report
from benchmarks.gpu import products, recurrent

SANITIZED = "tests/exhaustive/cuda/test_products.py::test_awkward_structures"


@dataclass(frozen=True)
class Arguments:
    """Options of the command: parts to leave out.

    Attributes:
        quick: tiny sizes, to see that everything runs; the numbers mean nothing.
        tests: run the tests and the memory checker first.
    """

    quick: bool = False
    tests: bool = True


def check() -> None:
    """The tests on the device, and a few of them under compute-sanitizer where it is installed."""
    tests = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-m",
        "",
        "-k",
        "on_device",
        "-p",
        "no:cacheprovider",
    ]
    subprocess.run([*tests, "tests"], check=True)
    if shutil.which("compute-sanitizer"):
        sanitizer = ["compute-sanitizer", "--error-exitcode", "1"]
        subprocess.run([*sanitizer, *tests, SANITIZED], check=True)


def run(arguments: Arguments) -> None:
    """Checks, then measures and writes what was measured."""
    if not torch.cuda.is_available():
        sys.exit("expected a CUDA device, found none")
    if arguments.tests:
        check()
    name = torch.cuda.get_device_name()
    options = Options(
        json=None
        if arguments.quick
        else Path(f"benchmarks/results/gpu-{re.sub('[^a-z0-9]+', '-', name.lower())}.json"),
        quick=arguments.quick,
    )
    options.prepare()
    rows = [*products.rows(quick=arguments.quick), *recurrent.rows(quick=arguments.quick)]
    report("gpu", rows, options, device=name, cuda=torch.version.cuda)


if __name__ == "__main__":
    run(tyro.cli(Arguments, description=__doc__))
