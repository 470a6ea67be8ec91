"""Processor: name, instruction sets, caches, and what the control group lets the process use."""

from __future__ import annotations

import os
from pathlib import Path

from sparse_engine.lab.doctor.report import Report

CPUINFO = Path("/proc/cpuinfo")
CACHES = Path("/sys/devices/system/cpu/cpu0/cache")

#: Flags of /proc/cpuinfo by instruction set, each set with those before it, as the library chooses.
FLAGS = {
    "x86-64-v3": {"avx2", "fma", "bmi2"},
    "x86-64-v4": {"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512cd"},
    "x86-64-v4-bf16": {"avx512_bf16"},
}


def check(report: Report) -> None:
    """Add the processor, its best instruction set, its caches and the number of processors."""
    entries = _entries()
    report.facts["processor"] = entries.get("model name", "unknown")
    report.facts["processor_isa"] = best_isa(set(entries.get("flags", "").split()))
    report.facts["processors"] = len(os.sched_getaffinity(0))
    report.facts["caches"] = caches()


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


def _entries() -> dict[str, str]:
    """Return what /proc/cpuinfo says about the first processor."""
    try:
        first = CPUINFO.read_text().split("\n\n")[0]
    except OSError:
        return {}
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}
