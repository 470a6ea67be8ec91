"""Share of the time of a call that each operation takes."""

from __future__ import annotations

from collections.abc import Callable

from torch.profiler import ProfilerActivity, profile

RUNS = 3


def shares(run: Callable[[], object]) -> dict[str, float]:
    """The share of each operation, ours and torch's, in their time; the largest first.

    An operation counts without those that it calls, so that the shares add up to 1.
    """
    with profile(activities=[ProfilerActivity.CPU]) as recorded:
        for _ in range(RUNS):
            run()
    spent = {
        event.key.removeprefix("sparse_engine::").removeprefix("aten::"): event.self_cpu_time_total
        for event in recorded.key_averages()
    }
    whole = sum(spent.values())
    return {name: spent[name] / whole for name in sorted(spent, key=spent.get, reverse=True)}


def as_percent(shares: dict[str, float], least: float = 0.05) -> str:
    """The shares of at least ``least``, in words."""
    return ", ".join(f"{name} {share:.0%}" for name, share in shares.items() if share >= least)
