"""The machine: processor, caches, cores and memory, and the commit of the sources that run on it.

Only the standard library is imported here, as the doctor of an installation asks without torch.
"""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

from sparse_engine._control_group import memory_limit

CPUINFO = Path("/proc/cpuinfo")
CACHES = Path("/sys/devices/system/cpu/cpu0/cache")

#: Flags of /proc/cpuinfo by instruction set, each set with those before it, as the library chooses.
FLAGS = {
    "x86-64-v3": {"avx2", "fma", "bmi2"},
    "x86-64-v4": {"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512cd"},
    "x86-64-v4-bf16": {"avx512_bf16"},
}


def _models(*ranges: tuple[int, int]) -> frozenset[int]:
    return frozenset(model for first, last in ranges for model in range(first, last + 1))


#: Microarchitectures of AMD by family and models, as Linux tells them apart.
AMD: Mapping[int, Mapping[str, Iterable[int]]] = {
    0x17: {
        "Zen": _models((0x00, 0x2F), (0x50, 0x5F)),
        "Zen 2": _models((0x30, 0x4F), (0x60, 0x7F), (0x90, 0x91), (0xA0, 0xAF)),
    },
    0x19: {
        "Zen 3": _models((0x00, 0x0F), (0x20, 0x5F)),
        "Zen 4": _models((0x10, 0x1F), (0x60, 0xAF)),
    },
    0x1A: {
        "Zen 5": _models((0x00, 0x2F), (0x40, 0x4F), (0x60, 0x7F)),
        "Zen 6": _models((0x50, 0x5F), (0x80, 0xAF), (0xC0, 0xCF)),
    },
}
#: Microarchitectures of Intel's family 6 by models.
INTEL: Mapping[str, Iterable[int]] = {
    "Haswell": (0x3C, 0x3F, 0x45, 0x46),
    "Broadwell": (0x3D, 0x47, 0x4F, 0x56),
    "Skylake": (0x4E, 0x5E),
    "Kaby Lake": (0x8E, 0x9E),
    "Comet Lake": (0xA5, 0xA6),
    "Ice Lake": (0x6A, 0x6C, 0x7D, 0x7E),
    "Tiger Lake": (0x8C, 0x8D),
    "Rocket Lake": (0xA7,),
    "Alder Lake": (0x97, 0x9A),
    "Raptor Lake": (0xB7, 0xBA, 0xBF),
    "Sapphire Rapids": (0x8F,),
    "Emerald Rapids": (0xCF,),
    "Granite Rapids": (0xAD, 0xAE),
}
#: Steppings of the Intel model 0x55, from the first of each on.
SKYLAKE_SERVERS = ((11, "Cooper Lake"), (5, "Cascade Lake"), (0, "Skylake"))
#: Parts of Arm, implementer 0x41.
ARM = {0xD0C: "Neoverse N1", 0xD40: "Neoverse V1", 0xD49: "Neoverse N2", 0xD4F: "Neoverse V2"}


def facts() -> dict[str, object]:
    """Return what times depend on: processor, microarchitecture, caches, cores and commit.

    Returns:
        ``processor`` is its name, which may hide the microarchitecture, ``family``.
        ``processor_isa`` is the best instruction set that it has of those we build. ``caches`` are
        sizes by level, ``cores`` those that this process may use, and ``commit`` is of the sources
        of the package, or None where it was installed without them.

    Example:
        >>> facts()["cores"] >= 1
        True
    """
    entries = cpuinfo()
    return {
        "processor": entries.get("model name") or platform.processor() or "unknown",
        "family": family(entries),
        "processor_isa": best_isa({*entries.get("flags", "").split()}),
        "cores": cores(),
        "caches": caches(),
        "commit": commit(),
    }


def cpuinfo(file: Path = CPUINFO) -> dict[str, str]:
    """Return what /proc/cpuinfo says about the first processor, or nothing without it."""
    try:
        first = file.read_text().split("\n\n")[0]
    except OSError:
        return {}
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def family(entries: Mapping[str, str]) -> str:
    """Return the microarchitecture of a processor, such as "Zen 5", or the numbers that it has.

    Args:
        entries: those of /proc/cpuinfo for a processor.
    """

    def number(name: str) -> int:
        try:
            return int(entries.get(name, ""), 0)
        except ValueError:
            return -1

    if "CPU part" in entries:
        part = number("CPU part")
        known = ARM.get(part) if number("CPU implementer") == 0x41 else None
        return known or f"part {part:#x} of implementer {number('CPU implementer'):#x}"
    of, model = number("cpu family"), number("model")
    vendor = entries.get("vendor_id")
    if vendor == "GenuineIntel" and (of, model) == (6, 0x55):
        named = (name for least, name in SKYLAKE_SERVERS if number("stepping") >= least)
        return next(named, "Skylake")
    names = {"AuthenticAMD": AMD.get(of, {}), "GenuineIntel": INTEL if of == 6 else {}}
    for name, models in names.get(vendor or "", {}).items():
        if model in models:
            return name
    return "unknown" if model < 0 else f"family {of}, model {model}"


def best_isa(flags: set[str]) -> str:
    """Return the best instruction set of a processor with some flags, among those we build."""
    best, needed = "baseline", set[str]()
    for name, more in FLAGS.items():
        needed |= more
        if not needed <= flags:
            break
        best = name
    return best


def caches(folder: Path = CACHES) -> dict[str, str]:
    """Return the sizes of the first processor's caches by level, without that of instructions."""
    sizes: dict[str, str] = {}
    for each in sorted(folder.glob("index*")):
        try:
            kind = (each / "type").read_text().strip()
            level, size = (each / "level").read_text().strip(), (each / "size").read_text().strip()
        except OSError:
            continue
        if kind != "Instruction":
            sizes[f"L{level}"] = size
    return sizes


def cores() -> int:
    """Return the number of processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def memory() -> int:
    """Return the bytes of memory of this machine, or of the control group if that is less."""
    there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit = memory_limit()
    return there if limit is None else min(there, limit)


def commit(package: Path = Path(__file__).parent) -> str | None:
    """Return the commit of the package's sources, with ``-dirty`` where they differ from it.

    Args:
        package: folder of the package; its parent is a work tree of git, or there is no commit.
    """
    if not (package.parent / ".git").exists():
        return None
    command = ["git", "-C", str(package.parent), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None
