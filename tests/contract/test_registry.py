"""Every cell has a reference implementation, rows in the documentation, and a benchmark."""

import importlib
import re
from pathlib import Path

import pytest
import torch

from sparse_engine import nn, ops
from sparse_engine.nn import CELLS
from sparse_engine.ops._dispatch.native import native

ROOT = Path(__file__).resolve().parents[2]
EVERY = pytest.mark.parametrize("name", CELLS)
WITH_KERNEL = pytest.mark.parametrize(
    "name", [name for name, entry in CELLS.items() if entry.cell.operation]
)


@pytest.fixture(scope="module")
def page():
    return (ROOT / "docs" / "cells.md").read_text()


@pytest.fixture
def families(monkeypatch):
    monkeypatch.syspath_prepend(ROOT)
    return importlib.import_module("benchmarks.cells").FAMILIES


def test_every_public_network_is_registered():
    public = {
        entry
        for entry in vars(nn).values()
        if isinstance(entry, type) and issubclass(entry, nn.Recurrent)
    }
    registered = {entry.network for entry in CELLS.values()}
    assert public - {nn.Recurrent} == registered
    assert len(registered) == len(CELLS)


@WITH_KERNEL
def test_reference_and_operation(name):
    operation = CELLS[name].cell.operation
    assert callable(operation.reference) and callable(getattr(ops, operation.__name__))
    for way in ("forward", "backward"):
        native_name = f"{operation.__name__}_{way}"
        assert hasattr(native, native_name)
        assert torch._C._dispatch_has_kernel_for_dispatch_key(
            f"sparse_engine::{native_name}", "CUDA"
        )


@EVERY
def test_row_of_the_page_on_cells(name, page):
    assert page.count(f"\n| `{CELLS[name].network.__name__}` |") == 1


def test_the_table_of_support_is_that_of_the_registry(page):
    """Each column names cells as their classes are named, without "Sparse"."""
    header, *rows = re.search(r"\n(\| \| RNN.*?)\n\n", page, re.DOTALL).group(1).splitlines()
    columns = [
        [each.strip().replace("-", "").replace(" ", "").lower() for each in column.split(",")]
        for column in header.split("|")[2:-1]
    ]
    cells = {entry.network.__name__[6:].lower(): entry for entry in CELLS.values()}
    assert sorted(each for column in columns for each in column) == sorted(cells)
    supports = {
        "`from_dense`": lambda entry: entry.cell.dense_type is not None,
        "`lengths=`": lambda entry: entry.cell.packable,
        "`timespans=`": lambda entry: entry.cell.timed,
        "growth by gradient": lambda entry: entry.cell.gradient_growth,
    }
    found = {row.split("|")[1].strip(): row.split("|")[2:-1] for row in rows[1:]}
    for label, supported in supports.items():
        (marks,) = (marks for text, marks in found.items() if text.startswith(label))
        for column, mark in zip(columns, marks, strict=True):
            assert {supported(cells[each]) for each in column} == {mark.strip() == "yes"}, label


@WITH_KERNEL
def test_benchmark(name, families):
    assert families[name].cases
    assert (ROOT / "benchmarks" / "results" / f"{name}.json").exists() or name == "rnn"
