"""Limits of the machine, checked before a run starts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sparse_engine.machine import memory

#: A value, its gradient, two moments of Adam, four indices, and a copy for checkpoints.
BYTES_PER_LINK = 44
#: A state and its gradient.
BYTES_PER_STATE = 8
REMEDY = "fewer units (--hidden) or a smaller --density helps"


def check_size(hidden: int, density: float, positions: int) -> None:
    """Raise ValueError for a recurrent layer that does not fit into memory.

    Args:
        hidden: number of units of the layer.
        density: density of its recurrent weight.
        positions: time steps times sequences, whose states a training step keeps.

    Raises:
        ValueError: too many links for one weight, or more memory than the machine has.
    """
    if hidden >= 2**31:
        raise ValueError(f"expected fewer than 2^31 units, found {hidden}")
    if not 0 < density <= 1:
        return  # the layer raises an error
    links = round(density * hidden * hidden)
    if links >= 2**31:
        raise ValueError(
            f"expected fewer than 2^31 links, found {links:,}, which are {hidden:,} units of "
            f"density {density}; {REMEDY}"
        )
    check_links(links, hidden, states=hidden * positions)


def check_links(links: int, units: int, *, states: int = 0) -> None:
    """Raise ValueError for a network that does not fit into memory.

    Args:
        links: number of links of the network.
        units: number of units of the network.
        states: number of states that a training step keeps.

    Raises:
        ValueError: more memory than the machine has.
    """
    needed = links * BYTES_PER_LINK + states * BYTES_PER_STATE
    if needed > (there := memory()):
        raise ValueError(
            f"expected links and states that fit into {there / 1e9:.1f} GB of memory, found "
            f"{units:,} units, {links:,} links and {states:,} states, which take "
            f"{needed / 1e9:.1f} GB or more; {REMEDY}"
        )


@contextmanager
def within_memory() -> Iterator[None]:
    """Raise a ValueError of one line where memory cannot be allocated within the block."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        refused = ("allocate memory", "bad_alloc", "out of memory")
        if isinstance(error, RuntimeError) and not any(word in str(error) for word in refused):
            raise
        found = " ".join(str(error).split())
        raise ValueError(
            f"expected a run that fits into memory, found: {found}; {REMEDY}"
        ) from error
