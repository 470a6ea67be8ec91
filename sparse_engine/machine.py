"""The machine: processor, caches, cores and memory, and the commit of the sources that run on it.

Only the standard library is imported here, as the doctor of an installation asks without torch.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import product, takewhile
from pathlib import Path, PurePosixPath

#: Where control groups of Linux are mounted, and which of them this process belongs to.
MOUNTED, OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
#: Parts of the errors of torch, of C++ and of CUDA where memory cannot be allocated.
REFUSALS = ("can't allocate memory", "bad_alloc", "out of memory")
CPUINFO = Path("/proc/cpuinfo")
CACHES = Path("/sys/devices/system/cpu/cpu0/cache")

#: Flags of /proc/cpuinfo by instruction set, each set with those before it, as the library chooses.
FLAGS = {
    "x86-64-v3": {"avx2", "fma", "bmi2"},
    "x86-64-v4": {"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512cd"},
    "x86-64-v4-bf16": {"avx512_bf16"},
}


#: Microarchitectures of AMD by family: each from some model on, up to the next.
AMD = {
    0x17: ((0x00, "Zen"), (0x30, "Zen 2"), (0x50, "Zen"), (0x60, "Zen 2")),
    0x19: ((0x00, "Zen 3"), (0x10, "Zen 4"), (0x20, "Zen 3"), (0x60, "Zen 4")),
    0x1A: ((0x00, "Zen 5"), (0x50, "Zen 6"), (0x60, "Zen 5"), (0x80, "Zen 6")),
}
#: Microarchitectures of Intel's family 6 by models.
INTEL = {
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
#: The same of its model 0x55: each from some stepping on, up to the next.
SKYLAKE_SERVERS = ((0, "Skylake"), (5, "Cascade Lake"), (11, "Cooper Lake"))
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
        >>> from sparse_engine.machine import facts
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


def info() -> dict[str, object]:
    """Return what a record of measurements says about where they were made.

    Returns:
        :func:`facts`, versions, the instruction set that runs and those that were built, threads
        and the GPU.
    """
    import torch

    import sparse_engine
    from sparse_engine.ops._dispatch import native

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no device"
    return {
        **facts(),
        "sparse_engine": sparse_engine.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "isa": native.isa(),
        "built_for": native.built_isas(),
        "threads": native.threads(),
        "cuda": gpu if native.built_with_cuda() else "built without CUDA",
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
    """Return the microarchitecture of a processor, such as "Zen 5", or the numbers that it has."""

    def number(name: str) -> int:
        text = entries.get(name, "")
        return int(text, 0) if re.fullmatch(r"0x[0-9a-f]+|\d+", text) else -1

    if "CPU part" in entries:
        part = number("CPU part")
        known = ARM.get(part) if number("CPU implementer") == 0x41 else None
        return known or f"part {part:#x} of implementer {number('CPU implementer'):#x}"
    of, model = number("cpu family"), number("model")
    known = None
    if entries.get("vendor_id") == "AuthenticAMD":
        known = _last_up_to(AMD.get(of, ()), model)
    elif entries.get("vendor_id") == "GenuineIntel" and of == 6:
        known = next((name for name, models in INTEL.items() if model in models), None)
        if model == 0x55:
            known = _last_up_to(SKYLAKE_SERVERS, number("stepping"))
    return known or ("unknown" if model < 0 else f"family {of}, model {model}")


def _last_up_to(names: Iterable[tuple[int, str]], number: int) -> str | None:
    return next((name for first, name in reversed([*names]) if number >= first), None)


def best_isa(flags: set[str]) -> str:
    """Return the best instruction set of a processor with some flags, among those we build."""
    has = [*takewhile(lambda name: FLAGS[name] <= flags, FLAGS)]
    return has[-1] if has else "baseline"


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


def memory_limit(mounted: Path = MOUNTED, own: Path = OWN) -> int | None:
    """Return the bytes of memory that the control groups allow, or None without a limit."""
    files = ("memory.max",), ("memory.limit_in_bytes",)
    limits = [number for (number,) in _limits("memory", files, mounted, own)]
    return min(limits, default=None)


@contextmanager
def memory_error_names(what: str) -> Iterator[None]:
    """Raise a MemoryError that names the purpose of an allocation that fails.

    torch raises RuntimeError and NumPy MemoryError, and neither names the purpose.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        refused = any(each in str(error) for each in REFUSALS)
        if not isinstance(error, MemoryError) and not refused:
            raise
        size = re.search(r"allocate (\d+) bytes", str(error))
        found = f"too little for {int(size[1]):,} bytes" if size else str(error) or "too little"
        raise MemoryError(f"expected memory for {what}, found {found}") from error


def threads_within_quota(mounted: Path = MOUNTED, own: Path = OWN) -> int | None:
    """Return how many threads can always run at once, at least 1, or None without a quota.

    A process in a container may see more processors than its quota lets it use. Threads beyond the
    quota wait for each other at every barrier while the scheduler holds them back, for tens of
    milliseconds each time.

    Control groups of version 2 or 1 are mounted in a folder; a file in the format of
    ``/proc/self/cgroup`` has the process's own.
    """
    files = ("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")
    found = _limits("cpu", files, mounted, own)
    quotas = [quota // period for quota, period in found if quota > 0 and period > 0]
    return max(1, min(quotas)) if quotas else None


def _limits(
    controller: str, files: tuple[tuple[str, ...], ...], mounted: Path, own: Path
) -> Iterator[list[int]]:
    """Yield the numbers in files of the process's control groups and of those around them."""
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        # Version 2 has one line, without controllers; version 1 has a line for each set of them,
        # and their folder often has a second name.
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if not path or (controllers and controller not in controllers.split(",")):
            continue
        roots = {mounted / controllers, mounted / controller} if controllers else {mounted}
        group = PurePosixPath(path.lstrip("/"))
        for each in product((group, *group.parents), roots, files):
            folder, root, names = each
            with suppress(OSError, ValueError):  # ValueError: "max", for no limit
                if ".." not in folder.parts:
                    texts = [(root / folder / name).read_text() for name in names]
                    yield [int(number) for text in texts for number in text.split()]


def commit(package: Path = Path(__file__).parent) -> str | None:
    """Return the commit of the package's sources, with ``-dirty`` where they differ from it.

    The folder around the package is a work tree of git, or there is no commit.
    """
    if not (package.parent / ".git").exists():
        return None
    command = ["git", "-C", str(package.parent), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None
