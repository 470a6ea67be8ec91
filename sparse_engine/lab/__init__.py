"""The lab: tasks, training runs, experiments, pictures and the command line.

The lab imports the library; no module of the library imports the lab. Every subpackage is imported
when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_SUBPACKAGES = ("cli", "doctor", "experiments", "networks", "plot", "tasks", "train", "watch")


def __getattr__(name: str) -> Any:
    if name in _SUBPACKAGES:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_SUBPACKAGES})
