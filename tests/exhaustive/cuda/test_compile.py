"""Every kernel compiles for real devices, without a warning, and keeps its numbers in registers.

What the compiler makes of a loop over links is looked at, too: whether several are in flight, how
many instructions they take, and that none of these queues with the loads.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
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
# What is compiled for sm_80 is for sm_86, too: no code asks for the one or the other.
DEVICES = ["80", "90", "120"]
# Those whose loops over links are looked at.
LINKS = ["spmm", "sddmm", "rnn", "lstm", "ctrnn"]
# What is compiled for sm_120: those, and those of which numbers are known to be spilled.
ON_120 = [*LINKS, "rhn", "on_lstm", "normed_lstm"]
# The most instructions for the links of a batch, in single precision with four columns to a lane,
# by the multiply-adds of the batch. A warp with panels of 32 columns takes 16 links in it.
STAGED, GATHERED = {16: 48}, {16: 56}
GRADIENT = {16: 92, 64: 180}  # of one panel, and of four at once
# What waits for the loads before it, or takes as long as many others.
SLOW = ("S2R", "LDC", "I2F", "F2I", "MATCH", "REDUX", "VOTE", "LDL", "STL")
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


def is_double(kernel: str) -> bool:
    """Whether a kernel's mangled name has double among the arguments of its templates."""
    return re.search(r"Id(Li|E)", kernel) is not None


@pytest.mark.parametrize(
    ("name", "device"),
    [(n, d) for n in KERNELS for d in DEVICES if d != "120" or n in ON_120],
)
def test_compiles_for_every_device_and_spills_nothing(name, device):
    functions = [found.groupdict() for found in FUNCTION.finditer(compiled(name, device)[0])]
    assert functions and {function["device"] for function in functions} == {device}
    # Known: in double precision the ordered and the normalised LSTM, and on sm_120 the highway
    # network, leave a few numbers in local memory, since cells finish a column at a time.
    of_doubles = 128 if name in ("on_lstm", "normed_lstm") else 0
    of_all = 128 if (name, device) == ("rhn", "120") else 0
    spilled = {f["name"]: int(f["stores"]) + int(f["loads"]) for f in functions}
    most = {kernel: max(of_all, of_doubles * is_double(kernel)) for kernel in spilled}
    assert not [kernel for kernel, found in spilled.items() if found > most[kernel]]
    # Two blocks of 256 threads fit a multiprocessor of 65,536 registers.
    assert max(int(function["registers"]) for function in functions) <= 128


def loops(code: str) -> Iterator[list[str]]:
    """The instructions of each loop that multiplies and adds, unless a loop in it does."""
    lines = code.splitlines()
    starts = {found["label"]: i for i, line in enumerate(lines) if (found := LABEL.match(line))}
    found = [INSTRUCTION.search(line) for line in lines]
    spans = set()
    for i, instruction in enumerate(found):
        target = re.search(r"\((\.L_\w+)\)", instruction["rest"]) if instruction else None
        if instruction and instruction["code"] == "BRA" and target and starts[target[1]] < i:
            within = found[starts[target[1]] : i]
            if any(one and one["code"] in ("FFMA", "DFMA") for one in within):
                spans.add((starts[target[1]], i))
    for first, last in spans:
        if not any(first <= a and b <= last for a, b in spans - {(first, last)}):
            yield [one["code"] for one in found[first : last + 1] if one]


@dataclass(frozen=True)
class Loop:
    """A loop over links: its instructions."""

    codes: list[str]

    def count(self, *names: str) -> int:
        """Return how many instructions have one of these names, with or without a suffix."""
        return sum(code in names or code.split(".")[0] in names for code in self.codes)

    @property
    def before(self) -> Loop:
        """What is before the first multiply-add."""
        is_last = [code.startswith(("FFMA", "DFMA")) for code in self.codes]
        return Loop(self.codes[: is_last.index(True)])


def loops_over_links(name: str, device: str) -> dict[str, list[Loop]]:
    """The loops over links of each kernel: those that gather and multiply, and compute no cell."""
    _, cubin = compiled(name, device)
    command = [nvdisasm(), "-c", str(cubin)]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = {}
    for function in re.split(r"\n\.text\.", text)[1:]:
        kernel = function.split(":", 1)[0]
        # The gradient of links for full panels; narrower ones need a loop over what is exchanged.
        if "run_phases" in kernel or ("sum_links" in kernel and "ELb1E" in kernel):
            every = [Loop(codes) for codes in loops(function)]
            found[kernel] = [
                loop
                for loop in every
                if loop.count("FFMA", "DFMA") >= 4 and loop.count("LDG") >= 2
                if loop.count("MUFU") == 0
            ]
    return found


@pytest.mark.skipif(nvdisasm() is None, reason="no nvdisasm")
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", LINKS)
def test_links_are_in_flight(name, device):
    """At least four loads from memory before the first number is used, in every loop over links."""
    for kernel, found in loops_over_links(name, device).items():
        assert found, kernel
        for loop in found:
            assert loop.before.count("LDG") >= 4, (kernel, loop.codes)


@pytest.mark.skipif(nvdisasm() is None, reason="no nvdisasm")
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", LINKS)
def test_links_take_few_instructions(name, device):
    looked_at = []
    for kernel, found in loops_over_links(name, device).items():
        for loop in found:
            slow = [code for code in loop.codes if code.startswith(SLOW) and code[:4] != "LDCU"]
            # On sm_120 one constant is read again for each four panels, and a few where numbers are
            # in double precision.
            most = (4 if loop.count("DFMA") else "sum_links" in kernel) if device == "120" else 0
            assert len(slow) <= most, (kernel, slow)
            if "BFloat16" in kernel or loop.count("DFMA"):
                continue
            is_staged, added = loop.count("LDS") > 0, loop.count("FFMA")
            gathered = STAGED if is_staged else GATHERED
            most = (GRADIENT if "sum_links" in kernel else gathered).get(added)
            if most is None:
                continue
            assert len(loop.codes) <= most, (kernel, len(loop.codes))
            looked_at.append(("sum_links" in kernel, is_staged))
    expected = {(True, True), (True, False)} if name != "spmm" else set()
    expected |= {(False, True), (False, False)} if name != "sddmm" else set()
    assert set(looked_at) == expected
