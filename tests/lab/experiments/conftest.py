"""Runs of experiments are made in the process of the test."""

import pytest
from lab.in_process import run_here


@pytest.fixture(autouse=True)
def _run_here(monkeypatch):
    run_here(monkeypatch)
