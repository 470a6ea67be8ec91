"""Parametrization of tests by arrays in which every pair of values occurs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import pytest

AllPairs = pytest.importorskip("allpairspy").AllPairs


def pairwise(
    where: Callable[[dict[str, object]], bool] | None = None, **values: Iterable | Mapping
) -> pytest.MarkDecorator:
    """Parametrize a test so that every two values of two arguments meet in some case.

    A full product of five arguments has hundreds of cases; most defects need two values to meet.

    Args:
        where: whether a case, or its beginning, makes sense; called with the names of values.
        **values: for each argument its values; a mapping gives them names for the ids of cases.
    """
    named = [
        [*each.items()] if isinstance(each, Mapping) else [(str(one), one) for one in each]
        for each in values.values()
    ]

    def fits(row: list[tuple[str, object]]) -> bool:
        return where is None or where(
            {argument: name for argument, (name, _) in zip(values, row, strict=False)}
        )

    cases = [
        pytest.param(*(value for _, value in case), id="; ".join(name for name, _ in case))
        for case in AllPairs(named, filter_func=fits)
    ]
    return pytest.mark.parametrize(tuple(values), cases)
