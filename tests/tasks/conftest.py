"""Tasks with tiny data."""

from __future__ import annotations

import dataclasses
import importlib.util
import sys
import types
from collections.abc import Callable

import numpy as np
import pytest
from tasks.layouts import WRITERS

from sparse_engine.tasks import TASKS, Task

#: Settings that suit tiny data.
SETTINGS: dict[str, dict[str, int]] = {
    "adding": {"length": 12, "held_out": 20},
    "copy-memory": {"delay": 5, "held_out": 20},
    "delayed-match": {"delay": 3, "held_out": 20},
    "gesture": {"batch_size": 3},
    "mnist": {"batch_size": 8},
    "penn-treebank": {"batch_size": 3, "bptt": 4, "evaluation_streams": 2},
    "person": {"batch_size": 3},
    "sms": {"batch_size": 8, "validation_size": 10},
    "wikitext-2": {"batch_size": 3, "bptt": 4, "evaluation_streams": 2},
}

#: Libraries that ship the data of a task.
LIBRARIES = {"digits": "sklearn", "laser": "reservoirpy"}


@pytest.fixture
def aeon(monkeypatch):
    """The library aeon, or where it is not installed a module that returns data of its layout."""
    if importlib.util.find_spec("aeon") is not None:
        return

    def load_japanese_vowels(split):
        count = {"train": 270, "test": 370}[split]
        generator = np.random.default_rng(count)
        sequences = [generator.normal(size=(12, 7 + k % 23)) for k in range(count)]
        return sequences, np.array([str(k * 9 // count + 1) for k in range(count)])

    datasets = types.ModuleType("aeon.datasets")
    datasets.load_japanese_vowels = load_japanese_vowels
    monkeypatch.setitem(sys.modules, "aeon", types.ModuleType("aeon"))
    monkeypatch.setitem(sys.modules, "aeon.datasets", datasets)


@pytest.fixture
def tiny(tmp_path, aeon) -> Callable[..., Task]:
    """Makes the task of a name with tiny data; other settings as given."""

    def make(name: str, **settings: object) -> Task:
        if name in LIBRARIES:
            pytest.importorskip(LIBRARIES[name], reason=f"{LIBRARIES[name]} is not installed")
        task = TASKS[name]
        if "data" in {field.name for field in dataclasses.fields(task)}:
            folder = tmp_path / name
            if not folder.exists():
                folder.mkdir()
                WRITERS[name](folder)
            settings = {"data": folder} | settings
        return task(**(SETTINGS.get(name, {}) | settings))

    return make
