"""Plausible sizes of weights, and errors for memory that cannot be allocated."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

# Row pointers of this many units take 80 MB.
ALWAYS_PLAUSIBLE = 10**7
UNITS_PER_LINK = 10
#: Parts of the errors of torch, of C++ and of CUDA.
REFUSALS = ("can't allocate memory", "bad_alloc", "out of memory")


def plausible_units(links: int) -> int:
    """Return the largest number of units that is plausible for a file with so many links.

    A file with a single link may name unit 2,000,000,000, and row pointers of so many units would
    take 32 GB.
    """
    return max(ALWAYS_PLAUSIBLE, UNITS_PER_LINK * links)


@contextmanager
def memory_error_names(what: str) -> Iterator[None]:
    """Raise a MemoryError that names the purpose of an allocation that fails.

    torch raises RuntimeError and NumPy MemoryError, and neither names the purpose.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        refused = any(each in str(error) for each in REFUSALS)
        if not isinstance(error, MemoryError) and not refused:
            raise
        size = re.search(r"allocate (\d+) bytes", str(error))
        found = f"too little for {int(size[1]):,} bytes" if size else str(error) or "too little"
        raise MemoryError(f"expected memory for {what}, found {found}") from error
