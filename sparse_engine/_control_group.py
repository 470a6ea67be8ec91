"""Limits of the control groups of Linux that this process belongs to, as in a container.

A process may see more processors than its quota lets it use. Threads beyond the quota wait for each
other at every barrier while the scheduler holds them back, for tens of milliseconds each time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

#: Where control groups are mounted, and which of them a process belongs to.
MOUNTED, OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def threads_within_quota(mounted: Path = MOUNTED, own: Path = OWN) -> int | None:
    """Return how many threads can always run at once, at least 1, or None without a quota.

    Args:
        mounted: folder in which control groups are mounted, of version 2 or 1.
        own: file with the process's groups, in the format of ``/proc/self/cgroup``.
    """
    quota = _least(_quota, "cpu", mounted, own)
    return None if quota is None else max(1, int(quota))


def memory_limit(mounted: Path = MOUNTED, own: Path = OWN) -> int | None:
    """Return the bytes of memory that the process may use, or None without a limit.

    Args:
        mounted: as for :func:`threads_within_quota`.
        own: as for :func:`threads_within_quota`.
    """
    limit = _least(_memory, "memory", mounted, own)
    return None if limit is None else int(limit)


def _least(
    limit: Callable[[Path], float | None], controller: str, mounted: Path, own: Path
) -> float | None:
    found = (limit(folder) for folder in _groups(controller, mounted, own))
    return min((each for each in found if each is not None), default=None)


def _groups(controller: str, mounted: Path, own: Path) -> Iterator[Path]:
    """Yield the folders of the process's groups and of all groups around them."""
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        if line.count(":") < 2:
            continue
        # Version 2 has one line, without controllers; version 1 has a line for each set of them,
        # and their folder often has a second name.
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        roots = {mounted / controllers, mounted / controller} if controllers else {mounted}
        group = PurePosixPath(path.lstrip("/"))
        for each in (group, *group.parents):
            if ".." not in each.parts:
                yield from (root / each for root in roots)


def _quota(folder: Path) -> float | None:
    """Return the processors that a group may use, or None where it has no limit of its own."""
    try:
        if (folder / "cpu.max").exists():
            quota, period = (folder / "cpu.max").read_text().split()
        else:
            quota = (folder / "cpu.cfs_quota_us").read_text()
            period = (folder / "cpu.cfs_period_us").read_text()
        return int(quota) / int(period) if int(quota) > 0 and int(period) > 0 else None
    except (OSError, ValueError):  # ValueError: "max", for no limit
        return None


def _memory(folder: Path) -> float | None:
    """Return the bytes that a group may use, or None where it has no limit of its own."""
    for name in ("memory.max", "memory.limit_in_bytes"):
        try:
            return int((folder / name).read_text())
        except (OSError, ValueError):  # ValueError: "max", for no limit
            continue
    return None
