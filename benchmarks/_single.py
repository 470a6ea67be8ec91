"""Measuring one call as a pytest-benchmark case."""

from __future__ import annotations

from collections.abc import Callable

from pytest_benchmark.fixture import BenchmarkFixture


def measured(
    benchmark: BenchmarkFixture, run: Callable[[], object], group: str, **facts: object
) -> float:
    """Measure a call, and return the median of its seconds.

    Args:
        benchmark: pytest-benchmark's fixture.
        run: the call, with everything that a user pays for.
        group: the cases of one name are shown beside each other, and compared.
        **facts: what the table shows beside the times, such as a target.
    """
    benchmark.group = group
    benchmark.extra_info.update({name: fact for name, fact in facts.items() if fact is not None})
    run()  # what others have left in caches and memory is not what a case finds that runs again
    benchmark(run)
    return benchmark.stats.stats.median if benchmark.stats else float("nan")
