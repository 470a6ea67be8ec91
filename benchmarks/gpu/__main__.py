"""Checks and measures on one CUDA device: times, the tests that need one, a memory checker.

Writes benchmarks/results/gpu-<name of the device>.json after each step, and goes on where it was
when it is started again. What fails is noted there, and the rest goes on. Needs a build with CUDA
(``make cuda``), and no network.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from benchmarks._harness import Options
from benchmarks._report import table
from benchmarks.gpu import products, recurrent
from benchmarks.gpu.cases import Case, go_over, supervise
from benchmarks.gpu.checks import check
from benchmarks.gpu.record import Record
from sparse_engine import __version__


def arguments() -> argparse.Namespace:
    """The options of the command, read by what is there on every machine."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="tiny sizes, to see that everything runs"
    )
    parser.add_argument(
        "--tests",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="also run the tests and the memory checker, which have a third of the time",
    )
    parser.add_argument(
        "--minutes", type=float, default=8.0, help="for all; a second run goes on with the rest"
    )
    parser.add_argument(
        "--deadline", type=float, help="of the process that measures, which this command starts"
    )
    return parser.parse_args()


def cases(*, quick: bool) -> Iterator[Case]:
    """All that is measured."""
    yield from products.cases(quick=quick)
    yield from recurrent.cases(quick=quick)


def record_of_device(*, quick: bool) -> Record:
    """Return the measurements of this version on this device so far."""
    name = torch.cuda.get_device_name()
    file = f"gpu-{re.sub('[^a-z0-9]+', '-', name.lower())}{'-quick' if quick else ''}.json"
    about = {
        "device": name,
        "capability": ".".join(map(str, torch.cuda.get_device_capability())),
        "cuda": torch.version.cuda,
        "torch": str(torch.__version__),
        "sparse_engine": __version__,
    }
    return Record.of(Path("benchmarks/results") / file, about)


def run(arguments: argparse.Namespace) -> int:
    """Checks and measures; returns how many things failed."""
    if not torch.cuda.is_available():
        sys.exit("expected a CUDA device, found none; `sparse-engine info` may say why")
    Options().prepare()
    if arguments.deadline is not None:
        record = record_of_device(quick=arguments.quick)
        go_over(cases(quick=arguments.quick), record, arguments.deadline)
        return 0
    end = time.time() + 60 * arguments.minutes
    if arguments.tests:
        check(record_of_device(quick=arguments.quick), time.time() + 20 * arguments.minutes)
    command = [sys.executable, "-m", "benchmarks.gpu", "--deadline", str(end - 30)]
    command += ["--quick"] if arguments.quick else []
    supervise(command, lambda: record_of_device(quick=arguments.quick), end - 30)
    return tell(record_of_device(quick=arguments.quick), cases(quick=arguments.quick))


def tell(record: Record, everything: Iterator[Case]) -> int:
    """Print the tables and what failed; return how many things did."""
    for group in ("operation", "layer"):
        rows = [row for row in record.all_rows() if group in row]
        if rows:
            print(table(rows), end="\n\n")
    print(", ".join(f"{key} {value}" for key, value in record.about.items()))
    wrong = {name: end["printed"] for name, end in record.checks.items() if not end["passed"]}
    wrong |= record.failures
    for name, error in wrong.items():
        print(f"FAILED {name}: {error}")
    left = [case.name for case in everything if not record.is_done(case.name)]
    if left:
        print(f"{len(left)} cases are left: the same command measures them.")
    print(f"Please attach {record.path} to an issue: it has these numbers, and what failed.")
    return len(wrong)


if __name__ == "__main__":
    sys.exit(1 if run(arguments()) else 0)
