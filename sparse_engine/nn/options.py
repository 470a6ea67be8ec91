"""Options of recurrent networks: each is declared once, with the check of its values."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from sparse_engine.nn._checks import check_flag, check_fraction, check_integer, check_number

_ANY = object()


@dataclass(frozen=True)
class Option:
    """Argument of a constructor that the network keeps as an attribute of that name.

    Attributes:
        check: ``check(name, value)`` raises TypeError or ValueError for a value that does not fit.
        in_torch: whether the counterpart in torch.nn has the option, too.
        dense: the only value with which the counterpart in torch.nn computes the same, for an
            option that torch.nn lacks; by default every value.
    """

    check: Callable[[str, object], None]
    in_torch: bool = False
    dense: object = _ANY

    def has_counterpart(self, value: object) -> bool:
        """Whether a network of torch.nn computes the same as one with this value."""
        return self.dense is _ANY or value == self.dense


def optional(check: Callable[[str, object], None]) -> Callable[[str, object], None]:
    """Return a check that accepts None, and what ``check`` accepts."""

    def check_unless_none(name: str, value: object) -> None:
        if value is not None:
            check(name, value)

    return check_unless_none


def _check_positive(name: str, value: object) -> None:
    check_number(f"{name} > 0", value, lambda number: number > 0)


def _check_finite(name: str, value: object) -> None:
    check_number(f"finite {name} > 0", value, lambda number: 0 < number < math.inf)


COUNT = Option(partial(check_integer, least=1))
FLAG = Option(check_flag)
FRACTION = Option(check_fraction)
DURATION = Option(_check_finite)
CLIP = Option(optional(_check_positive), dense=None)
