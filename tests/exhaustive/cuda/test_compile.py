"""Every kernel compiles for real devices, without a warning, and keeps its numbers in registers.

What the compiler makes of a loop over links is looked at, too: whether several are in flight.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sysconfig
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from testing import versions_of

ROOT = Path(__file__).resolve().parents[3]
KERNELS = {
    name: (source, flags)
    for source in sorted((ROOT / "csrc/cuda").rglob("*.cu"))
    for name, flags in versions_of(source).items()
}
DEVICES = ["80", "86", "90"]
# Those whose loops over links are looked at.
LINKS = ["spmm", "sddmm", "linear", "rnn", "lstm", "ctrnn"]
FUNCTION = re.compile(
    r"Compiling entry function '(?P<name>\w+)' for 'sm_(?P<device>\d+)'.*?"
    r"(?P<stores>\d+) bytes spill stores, (?P<loads>\d+) bytes spill loads.*?"
    r"Used (?P<registers>\d+) registers",
    re.DOTALL,
)
INSTRUCTION = re.compile(r"/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?(?P<code>[A-Z][\w.]*)(?P<rest>.*)")
LABEL = re.compile(r"(?P<label>\.L_\w+):")
pytestmark = pytest.mark.skipif(shutil.which("nvcc") is None, reason="no nvcc")


def nvdisasm() -> str | None:
    """The disassembler of the toolkit, or of the package nvidia-cuda-nvdisasm."""
    packaged = Path(sysconfig.get_path("purelib")).glob("nvidia/cu*/bin")
    path = [str(folder) for folder in packaged]
    return shutil.which("nvdisasm") or shutil.which("nvdisasm", path=":".join(path))


@cache
def compiled(name: str, device: str) -> tuple[str, Path]:
    """Return the report of ptxas about the kernels of a file, and the file of the kernels.

    Both are kept in build/ until a source changes.
    """
    source, flags = KERNELS[name]
    cubin = ROOT / f"build/nvcc/{name}-{device}.cubin"
    printed = cubin.with_suffix(".txt")
    depends = [Path(__file__), source, *(ROOT / "csrc").rglob("*.cuh")]
    depends += (ROOT / "csrc").rglob("*.h")
    if not printed.exists() or any(
        path.stat().st_mtime > printed.stat().st_mtime for path in depends
    ):
        cubin.parent.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            [
                *("nvcc", "-std=c++17", "-O3", "-Xptxas=-v", "-Werror=all-warnings"),
                *(f"-I{ROOT / path}" for path in ("csrc", "csrc/include", "csrc/cuda")),
                f"-gencode=arch=compute_{device},code=sm_{device}",
                *(*flags, "-cubin", str(source), "-o", str(cubin)),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        printed.write_text(done.stdout + done.stderr)
    return printed.read_text(), cubin


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", KERNELS)
def test_compiles_for_every_device_and_spills_nothing(name, device):
    functions = [found.groupdict() for found in FUNCTION.finditer(compiled(name, device)[0])]
    assert functions and {function["device"] for function in functions} == {device}
    assert not [f for f in functions if int(f["stores"]) + int(f["loads"])]
    # Two blocks of 256 threads fit a multiprocessor of 65,536 registers.
    assert max(int(function["registers"]) for function in functions) <= 128


def loops(code: str, *, may_store: bool) -> Iterator[list[str]]:
    """The instructions of each loop up to its first multiply-add, unless another loop is there."""
    lines = code.splitlines()
    starts = {found["label"]: i for i, line in enumerate(lines) if (found := LABEL.match(line))}
    heads = set()
    for i, line in enumerate(lines):
        found = INSTRUCTION.search(line)
        target = re.search(r"\((\.L_\w+)\)", found["rest"]) if found else None
        if found and found["code"] == "BRA" and target and starts[target[1]] < i:
            heads.add((starts[target[1]], i))
    inner = {head for head, _ in heads}
    for head, end in heads:
        if not may_store and any(" STG" in line for line in lines[head:end]):
            continue
        before = []
        for line in range(head, end):
            if line != head and line in inner:
                break
            found = INSTRUCTION.search(lines[line])
            if found and re.match(r"[FD]FMA", found["code"]):
                yield before
                break
            if found:
                before.append(found["code"])


@pytest.mark.skipif(nvdisasm() is None, reason="no nvdisasm")
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", LINKS)
def test_links_are_in_flight(name, device):
    """At least four loads from memory before the first number is used, in every loop over links."""
    _, cubin = compiled(name, device)
    command = [nvdisasm(), "-c", str(cubin)]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    looked_at = 0
    for function in re.split(r"\n\.text\.", text)[1:]:
        kernel = function.split(":", 1)[0]
        if "run_phases" not in kernel and "sum_links" not in kernel:
            continue
        # A program stores a row's sums behind the loop over its links, unless links have sums, too.
        found = loops(function, may_store="sum_links" in kernel or name == "linear")
        counts = [sum(code.startswith("LDG") for code in codes) for codes in found]
        of_links = [count for count in counts if count > 0]
        assert of_links and min(of_links) >= 4, (kernel, counts)
        looked_at += len(of_links)
    assert looked_at >= 4
