"""Limits of the machine, checked before a run starts."""

from __future__ import annotations

from sparse_engine.machine import memory

#: A value, its gradient, two moments of Adam, four indices, and a copy for checkpoints.
BYTES_PER_LINK = 44
#: A state and its gradient.
BYTES_PER_STATE = 8
REMEDY = "fewer units (--hidden) or a smaller --density helps"


def check_size(hidden: int, density: float, positions: int) -> None:
    """Refuse a recurrent layer of too many links for one weight, or for the memory.

    Args:
        hidden: number of units of the layer.
        density: density of its recurrent weight.
        positions: time steps times sequences, whose states a training step keeps.
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
    """Raise ValueError for links, and states that a training step keeps, beyond the memory."""
    needed = links * BYTES_PER_LINK + states * BYTES_PER_STATE
    if needed > (there := memory()):
        raise ValueError(
            f"expected links and states that fit into {there / 1e9:.1f} GB of memory, found "
            f"{units:,} units, {links:,} links and {states:,} states, which take "
            f"{needed / 1e9:.1f} GB or more; {REMEDY}"
        )
