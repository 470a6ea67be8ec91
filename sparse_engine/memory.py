"""Memory that is asked for: how much is plausible, and what a user is told if there is none."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

# Pointers of so many units take 80 MB, whatever a file claims.
ALWAYS_PLAUSIBLE = 10**7
UNITS_PER_LINK = 10


def plausible_units(links: int) -> int:
    """Return how many units a file with so many links may have without its reader being told.

    A file of one line can name unit 2,000,000,000, and pointers to the links of so many units
    would take 32 GB.
    """
    return max(ALWAYS_PLAUSIBLE, UNITS_PER_LINK * links)


@contextmanager
def asking_for(what: str) -> Iterator[None]:
    """Turn an allocation on the CPU that fails into a MemoryError that names what it was for.

    torch raises a RuntimeError and NumPy a MemoryError; neither says who asked.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and "can't allocate memory" not in str(error):
            raise
        size = re.search(r"allocate (\d+) bytes", str(error))
        found = f"too little for {int(size[1]):,} bytes" if size else str(error) or "too little"
        raise MemoryError(f"expected memory for {what}, found {found}") from error
