"""Share of the processors that a container or a control group of Linux may use.

A process may see more processors than its quota lets it use. Threads beyond the quota wait for each
other at every barrier while the scheduler holds them back, for tens of milliseconds each time.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

#: Where control groups are mounted, and which of them a process belongs to.
MOUNTED, OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def threads_within_quota(mounted: Path = MOUNTED, own: Path = OWN) -> int | None:
    """Return how many threads can always run at once, at least 1, or None without a quota.

    Args:
        mounted: folder in which control groups are mounted, of version 2 or 1.
        own: file with the process's groups, in the format of ``/proc/self/cgroup``.
    """
    quotas = [quota for folder in _groups(mounted, own) if (quota := _quota(folder)) is not None]
    return max(1, int(min(quotas))) if quotas else None


def _groups(mounted: Path, own: Path) -> Iterator[Path]:
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
        if controllers and "cpu" not in controllers.split(","):
            continue
        roots = {mounted / controllers, mounted / "cpu"} if controllers else {mounted}
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
