"""The gates of a gated cell share one weight; each is a block of its rows."""

from __future__ import annotations

from sparse_engine.ops import Links


def gate_blocks(links: Links, gates: int) -> list[Links]:
    """The links of each gate by itself: in CSR order one run after the other.

    Raises:
        ValueError: the rows do not make ``gates`` equal blocks.
    """
    rows = links.crow.numel() - 1
    if rows % gates:
        raise ValueError(f"expected rows that make {gates} equal gates, found {rows}")
    height = rows // gates
    blocks = []
    for gate in range(gates):
        crow = links.crow[gate * height : (gate + 1) * height + 1]
        start, end = int(crow[0]), int(crow[-1])
        blocks.append(Links(crow - start, links.col[start:end], links.in_features))
    return blocks


def check_gates(gates: int) -> None:
    """Raises ValueError if there is not one gate."""
    if gates < 1:
        raise ValueError(f"expected at least 1 gate, found {gates}")
