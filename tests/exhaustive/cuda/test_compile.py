"""Every kernel compiles for real devices, without a warning, and keeps its numbers in registers."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from sparse_engine.testing import versions_of

ROOT = Path(__file__).resolve().parents[3]
KERNELS = {
    name: (source, flags)
    for source in sorted((ROOT / "csrc/cuda").rglob("*.cu"))
    for name, flags in versions_of(source).items()
}
DEVICES = ["80", "90"]
FUNCTION = re.compile(
    r"Compiling entry function '(?P<name>\w+)' for 'sm_(?P<device>\d+)'.*?"
    r"(?P<stores>\d+) bytes spill stores, (?P<loads>\d+) bytes spill loads.*?"
    r"Used (?P<registers>\d+) registers",
    re.DOTALL,
)


def report(name: str) -> str:
    """Output of ptxas about the kernels of a file; kept in build/ until a source changes."""
    source, flags = KERNELS[name]
    target = ROOT / f"build/nvcc/{name}.txt"
    depends = [Path(__file__), source, *(ROOT / "csrc").rglob("*.cuh")]
    depends += (ROOT / "csrc").rglob("*.h")
    if target.exists() and all(path.stat().st_mtime < target.stat().st_mtime for path in depends):
        return target.read_text()
    target.parent.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [
            *("nvcc", "-std=c++17", "-O3", "-Xptxas=-v", "-Werror=all-warnings"),
            "-Xcompiler=-Wall,-Wextra,-Werror",
            *(f"-I{ROOT / path}" for path in ("csrc", "csrc/include", "csrc/cuda")),
            *(f"-gencode=arch=compute_{device},code=sm_{device}" for device in DEVICES),
            *(*flags, "-c", str(source), "-o", str(target.with_suffix(".o"))),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    target.write_text(done.stdout + done.stderr)
    return target.read_text()


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="no nvcc")
@pytest.mark.parametrize("name", KERNELS)
def test_compiles_for_every_device_and_spills_nothing(name):
    functions = [found.groupdict() for found in FUNCTION.finditer(report(name))]
    assert {function["device"] for function in functions} == {*DEVICES}
    assert not [f for f in functions if int(f["stores"]) + int(f["loads"])]
    # Two blocks of 256 threads fit a multiprocessor of 65,536 registers.
    assert max(int(function["registers"]) for function in functions) <= 128
