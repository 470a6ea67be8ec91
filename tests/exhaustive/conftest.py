"""All tests of this folder are exhaustive: they take minutes, and `make test` leaves them out."""

from pathlib import Path

import pytest


def pytest_collection_modifyitems(items):
    """Mark the tests of this folder; other folders have theirs in the same list."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.exhaustive)
