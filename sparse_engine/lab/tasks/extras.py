"""Libraries that ship data sets and are needed for a few tasks only."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType


def library(module: str, task: str) -> ModuleType:
    """Import a module of a library that the extra ``tasks`` installs.

    Raises:
        ImportError: the library is not installed; the message says how to install it.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise ImportError(
            f"expected the library {module.partition('.')[0]} for the task {task}, found: {error}; "
            "install it with: pip install 'sparse_engine[tasks]'"
        ) from error
