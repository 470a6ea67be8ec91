"""The columns of published tables of links, by which a table is recognised."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sparse_engine.errors import TableError


@dataclass(frozen=True)
class Source:
    """Columns of a table of links.

    Attributes:
        name: name of the source.
        pre: column of the presynaptic neuron's id.
        post: column of the postsynaptic neuron's id.
        count: column of the number of synapses; None for one synapse in each row.
        sign: column of the sign, or of the transmitter; None for unknown signs.
        signed: whether the count has the sign.
        row: what the first row of a file without a header looks like, its fields joined by commas,
            and in which order its columns are; None where there is a header.
    """

    name: str
    pre: str
    post: str
    count: str | None = None
    sign: str | None = None
    signed: bool = False
    row: tuple[str, tuple[str, ...]] | None = None

    @property
    def columns(self) -> list[str]:
        """The names of the columns that are read."""
        named = (self.pre, self.post, self.count, self.sign)
        return [each for each in named if each is not None]


#: All known sources; the first whose columns a table has is its own. A source with more columns
#: comes before one with fewer of the same.
SOURCES = (
    Source("FlyWire Codex", "pre_root_id", "post_root_id", "syn_count", "nt_type"),
    Source("FlyWire Codex", "pre_root_id", "post_root_id", "syn_count"),
    Source(
        "FlyWire Codex without a header", "pre_root_id", "post_root_id", "syn_count",
        row=(r"\d{15,19},\d{15,19},[A-Za-z][^,]*,\d+(,.*)?",
             ("pre_root_id", "post_root_id", "neuropil", "syn_count", "nt_type")),
    ),
    Source("FlyWire, CAVE", "pre_pt_root_id", "post_pt_root_id", "syn_count"),
    Source("FlyWire, CAVE", "pre_pt_root_id", "post_pt_root_id"),
    Source("Shiu et al. 2024", "Presynaptic_ID", "Postsynaptic_ID", "Connectivity", "Excitatory"),
    Source("MaleCNS", "body_pre", "body_post", "weight"),
    Source("MANC, BANC", "pre", "post", "count", "sign"),
    Source("MANC, BANC", "pre", "post", "count"),
    Source("hemibrain", "bodyId_pre", "bodyId_post", "weight"),
    Source("edge list", "Source", "Target", "Weight", signed=True),
    Source(
        "edge list without a header", "pre", "post", "weight", signed=True,
        row=(r"[^,]+,[^,]+,-?\d+(\.\d*)?", ("pre", "post", "weight")),
    ),
)  # fmt: skip


def recognise(columns: Sequence[str], table: str, **named: str | None) -> Source:
    """Return the source whose columns a table has.

    Args:
        columns: names of the table's columns.
        table: name of the table in messages.
        **named: columns named by the user, ``pre``, ``post``, ``count`` and ``sign``.

    Raises:
        TableError: no source has these columns, or the table has no named column.
    """
    given: dict[str, Any] = {name: column for name, column in named.items() if column is not None}
    found = next(
        (each for each in SOURCES if each.row is None and {*each.columns} <= {*columns}), None
    )
    if given:
        plain = Source("the named columns", "pre", "post")
        found = replace(plain if found is None else found, **given)
    if found is None:
        known = "; ".join(
            f"{each.name}: {', '.join(each.columns)}" for each in SOURCES if each.row is None
        )
        raise TableError(
            f"expected columns of a known source in {table}, found {', '.join(columns)}; name "
            f"them (pre=, post=, count=, sign=). Known are {known}"
        )
    missing = [each for each in found.columns if each not in columns]
    if missing:
        raise TableError(
            f"expected a column {missing[0]!r} in {table}, found {', '.join(columns)}; name the "
            "columns (pre=, post=, count=, sign=)"
        )
    return found


def recognise_row(first: Sequence[str]) -> tuple[Source, list[str]] | None:
    """Return the source of a file without a header, and its columns, by the file's first row."""
    for each in SOURCES:
        if each.row is not None and re.fullmatch(each.row[0], ",".join(first)):
            names = each.row[1]
            extra = [f"column {place}" for place in range(len(names), len(first))]
            return each, [*names[: len(first)], *extra]
    return None
