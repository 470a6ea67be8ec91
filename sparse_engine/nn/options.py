"""Options of cells: fields of their dataclass, each declared with the check of its values."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import MISSING, field
from functools import partial
from typing import Any

from sparse_engine.nn._checks import check_flag, check_fraction, check_integer, check_number

#: ``check(name, value)`` raises TypeError or ValueError for a value that does not fit.
Check = Callable[[str, object], None]


def option(check: Check, default: Any = MISSING) -> Any:
    """Declare an option of a :class:`Cell`: a field whose values are checked.

    Args:
        check: ``check(name, value)`` raises TypeError or ValueError for a value that does not fit.
        default: the default; without one the option has to be given.

    Example:
        >>> @dataclass(frozen=True, kw_only=True)
        ... class Leaky(Cell):
        ...     leak: float = option(check_leak, 0.5)
    """
    return field(default=default, metadata={"check": check})


def optional(check: Check) -> Check:
    """Return a check that accepts None, and what ``check`` accepts."""

    def check_unless_none(name: str, value: object) -> None:
        if value is not None:
            check(name, value)

    return check_unless_none


def one_of(*choices: str) -> Check:
    """Return a check that accepts some names."""

    def check_choice(name: str, value: object) -> None:
        if value not in [*choices]:
            raise ValueError(f"expected {name} one of {[*choices]}, found {value!r}")

    return check_choice


def _check_rates(name: str, value: object) -> None:
    for each in value if isinstance(value, tuple) else (value,):
        check_fraction(name, each)


def _check_positive(name: str, value: object) -> None:
    check_number(f"{name} > 0", value, lambda number: number > 0)


def _check_finite(name: str, value: object) -> None:
    check_number(f"finite {name} > 0", value, lambda number: 0 < number < math.inf)


COUNT: Check = partial(check_integer, least=1)
FLAG: Check = check_flag
FRACTION: Check = check_fraction
DURATION: Check = _check_finite
RATES: Check = _check_rates
CLIP: Check = optional(_check_positive)

#: The arguments of all networks that describe them, with their checks.
STACK = {
    **dict.fromkeys(("input_size", "hidden_size", "num_layers"), COUNT),
    **dict.fromkeys(("bias", "batch_first"), FLAG),
    "dropout": FRACTION,
    "bidirectional": FLAG,
    "checkpoint_every": optional(COUNT),
}
