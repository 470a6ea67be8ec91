"""Copies of functions that torch.compile tells apart."""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any, cast


def with_own_code(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a copy of a function with a code object of its own.

    torch.compile counts recompilations by code object, and gives up after eight. Classes that
    inherit one ``forward`` share it, so a program with many kinds of networks would reach that.
    """
    old = cast(FunctionType, function)
    own = FunctionType(old.__code__.replace(), old.__globals__, old.__name__)
    own.__kwdefaults__, own.__defaults__ = old.__kwdefaults__, old.__defaults__
    own.__doc__, own.__annotations__ = old.__doc__, old.__annotations__
    own.__module__, own.__qualname__ = old.__module__, old.__qualname__
    return own
