"""Checks of arguments, and options of cells: fields of a dataclass with a check each."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import MISSING, field
from functools import partial
from numbers import Real
from typing import Any, cast

from torch import Tensor

#: ``check(name, value)`` raises TypeError or ValueError for a value that does not fit.
Check = Callable[[str, object], None]


def check_integer(name: str, value: object, *, least: int) -> None:
    """Raise TypeError for anything but an int, and ValueError for one below ``least``."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"expected {name} of type int, found {_described(value)}")
    if value < least:
        raise ValueError(f"expected {name} of at least {least}, found {value}")


def check_flag(name: str, value: object) -> None:
    """Raise TypeError for anything but a bool."""
    if not isinstance(value, bool):
        raise TypeError(f"expected {name} of type bool, found {_described(value)}")


def check_number(expected: str, value: object, fits: Callable[[float], bool]) -> None:
    """Raise ValueError for anything but a real number that fits, as torch.nn's dropout does."""
    if isinstance(value, bool) or not isinstance(value, Real) or not fits(cast(float, value)):
        raise ValueError(f"expected {expected}, found {value!r}")


def check_entries(
    expected: str, entries: Tensor, fits: Tensor, error: type[ValueError] = ValueError
) -> None:
    """Raise an error that names the first entry that does not fit."""
    wrong = (~fits).nonzero()
    if wrong.numel():
        at = int(wrong[0])
        raise error(f"expected {expected}, found {int(entries[at])} at position {at}")


def _described(value: object) -> str:
    return f"{value!r} of type {type(value).__name__}"


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


def in_range(expected: str, fits: Callable[[float], bool]) -> Check:
    """Return a check of numbers; ``expected`` has ``{}`` for the name."""
    return lambda name, value: check_number(expected.format(name), value, fits)


def optional(check: Check) -> Check:
    """Return a check that accepts None, too."""
    return lambda name, value: None if value is None else check(name, value)


def check_rates(name: str, value: object) -> None:
    """Raise ValueError for anything but a fraction or a tuple of fractions."""
    for each in value if isinstance(value, tuple) else (value,):
        check_fraction(name, each)


check_count: Check = partial(check_integer, least=1)
check_fraction = in_range("{} in [0, 1]", lambda share: 0 <= share <= 1)
check_duration = in_range("finite {} > 0", lambda number: 0 < number < math.inf)
check_clip = optional(in_range("{} > 0", lambda number: number > 0))

#: The arguments of all networks that describe them, with their checks.
STACK: dict[str, Check] = {
    **dict.fromkeys(("input_size", "hidden_size", "num_layers"), check_count),
    **dict.fromkeys(("bias", "batch_first"), check_flag),
    "dropout": check_fraction,
    "bidirectional": check_flag,
    "checkpoint_every": optional(check_count),
}
