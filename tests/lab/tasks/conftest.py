"""Tasks with tiny data."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
from lab.tasks.layouts import put_aeon, tiny_task

from sparse_engine.lab.tasks import Task


@pytest.fixture
def aeon(monkeypatch):
    """The library aeon, or where it is not installed a module that returns data of its layout."""
    put_aeon(monkeypatch)


@pytest.fixture
def tiny(tmp_path, aeon) -> Callable[..., Task]:
    """Makes the task of a name with tiny data; other settings as given."""
    return partial(tiny_task, tmp_path)
