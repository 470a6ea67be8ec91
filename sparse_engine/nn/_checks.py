"""Checks of the arguments of modules: types as in torch.nn, then ranges."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from numbers import Real
from typing import cast

from torch import Tensor, nn


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
    """Raise ValueError for anything but a real number that fits.

    A wrong type is a ValueError as well, as for the ``dropout`` of torch.nn.

    Args:
        expected: the name and the range, such as "density in (0, 1]".
        value: the value that was given.
        fits: returns whether a number is in the range.
    """
    if isinstance(value, bool) or not isinstance(value, Real) or not fits(cast(float, value)):
        raise ValueError(f"expected {expected}, found {value!r}")


def check_fraction(name: str, value: object) -> None:
    """Raise ValueError for anything but a number in [0, 1]."""
    check_number(f"{name} in [0, 1]", value, lambda share: 0 <= share <= 1)


def check_saved(name: str, saved: Tensor, own: Tensor) -> None:
    """Raise ValueError for an entry of a state dict that is no floating-point tensor.

    torch would cast integers to the dtype of the parameter ``own``, and drop imaginary parts.
    """
    if own.is_floating_point() and not saved.is_floating_point():
        raise ValueError(f"expected {name} of a floating-point dtype, found {saved.dtype}")


def absent_keys(
    names: Collection[str],
    state_dict: Mapping[str, Tensor],
    prefix: str,
    known: Callable[[str], bool] = lambda name: False,
) -> tuple[list[str], list[str]]:
    """Return the keys of a module's entries that a state dict lacks, and those it has too many.

    Args:
        names: the module's entries.
        state_dict: the state dict of the whole model.
        prefix: what the module's keys begin with.
        known: whether a further entry belongs to something else.
    """
    absent = [prefix + name for name in names if prefix + name not in state_dict]
    own = [key.removeprefix(prefix) for key in state_dict if key.startswith(prefix)]
    return absent, [prefix + name for name in own if name not in names and not known(name)]


class LoadsRealParameters(nn.Module):
    """Module that loads its parameters from floating-point entries of a state dict only."""

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Tensor],
        prefix: str,
        local_metadata: dict,
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        of_torch = local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        for name, own in self._parameters.items():
            if own is None or prefix + name not in state_dict:
                continue
            try:
                check_saved(name, state_dict[prefix + name], own)
            except ValueError as error:
                error_msgs.append(f"{prefix.removesuffix('.') or 'the module'}: {error}")
                return
        super()._load_from_state_dict(state_dict, prefix, *of_torch)


def _described(value: object) -> str:
    return f"{value!r} of type {type(value).__name__}"
