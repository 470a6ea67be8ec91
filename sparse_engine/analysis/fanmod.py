"""Files of FANMOD: signed networks ``source<TAB>target<TAB>colour``, and counts of motifs.

Colour 1 is a positive link, colour 2 a negative one. The published networks of Zhang et al. (2023)
are such files.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array

from sparse_engine import convert
from sparse_engine.analysis.census import signed_triad_census
from sparse_engine.analysis.graph import GraphLike, as_csr
from sparse_engine.analysis.graph_file import read_graph
from sparse_engine.files import write_atomically

FIRST_WORD = b"FANMOD"
HEADER = "ID,Adj-Matrix,Frequency,Mean-Freq,Standard-Dev,Z-Score,p-Value"
# A motif has three lines: "38,011,1.5%,1.2%,0.0012,2.1,0.02", then two like ",001". Each has the
# colours from one node; the first has the numbers, too.
MOTIF = re.compile(r"\d+,([0-2]{3}),([^,\n]+),([^,\n]+),([^,\n]+),([^,\n]+),([^,\n]+)")
ROW = re.compile(r",([0-2]{3})")


class FanmodMotif(NamedTuple):
    """Frequency of a motif, compared with random networks; nan where FANMOD says "undefined".

    Attributes:
        frequency: the motif's fraction of all connected triads, in [0, 1].
        mean: mean of this fraction in the random networks.
        deviation: standard deviation of this fraction in the random networks.
        z_score: ``(frequency - mean) / deviation``.
        p_value: fraction of the random networks in which the motif is at least as frequent.
    """

    frequency: float
    mean: float
    deviation: float
    z_score: float
    p_value: float


@dataclass(frozen=True)
class FanmodMotifs:
    """Contents of a CSV file of FANMOD.

    Attributes:
        subgraphs: number of connected triads in the network.
        random_networks: number of random networks.
        motifs: motifs by the names of :func:`~sparse_engine.analysis.signed_triad_census`,
            "030T:++-"; in the order of the file.
    """

    subgraphs: int
    random_networks: int
    motifs: dict[str, FanmodMotif]


def is_fanmod_motifs(path: str | Path) -> bool:
    """Whether a file begins as FANMOD's CSV files do.

    Raises:
        OSError: the file cannot be read.
    """
    with open(path, "rb") as file:
        return file.read(len(FIRST_WORD)) == FIRST_WORD


def read_fanmod_motifs(path: str | Path) -> FanmodMotifs:
    """Read FANMOD's CSV file of motifs of three nodes.

    Raises:
        ValueError: not such a file, a line that is not as it should be, or one motif twice.
        OSError: the file cannot be read.
    """
    text = Path(path).read_text(encoding="utf-8", errors="replace")
    head, found, table = text.partition(HEADER)
    if not found or not re.search(r"^Subgraph size: 3\s*$", head, re.MULTILINE):
        raise ValueError(
            f"expected FANMOD's table of motifs of three nodes in {path}, found "
            + ("motifs of another size" if found else f"no line {HEADER!r}")
        )
    lines = [line for line in table.splitlines()[2:] if line.strip()]  # 2: rest of the header
    motifs: dict[str, FanmodMotif] = {}
    for first in range(0, len(lines), 3):
        name, motif = _motif(lines[first : first + 3], path)
        if name in motifs:
            raise ValueError(f"expected each motif once in {path}, found {name} twice")
        motifs[name] = motif
    return FanmodMotifs(
        subgraphs=_number(r"(\d+) subgraphs were enumerated in the original", head, path),
        random_networks=_number(r"Generated (\d+) random networks", head, path),
        motifs=motifs,
    )


def _motif(lines: list[str], path: str | Path) -> tuple[str, FanmodMotif]:
    first, *rest = MOTIF.fullmatch(lines[0]), *map(ROW.fullmatch, lines[1:])
    try:
        if first is None or len(rest) != 2 or None in rest:
            raise ValueError
        row, *numbers = first.groups()
        motif = FanmodMotif(*map(_value, numbers))
        name = _name([row, *(each[1] for each in rest if each)])
    except ValueError:
        raise ValueError(
            f"expected a motif of three rows in {path}, found {lines[0][:80]!r}"
        ) from None
    return name, motif


def _name(rows: list[str]) -> str:
    """Return what :func:`signed_triad_census` calls a triad; FANMOD's rows are sources."""
    colours = np.array([[*row] for row in rows], dtype=np.int64)
    links = csr_array(np.array([0.0, 1.0, -1.0])[colours.T])
    (name,) = (name for name, count in signed_triad_census(links).items() if count)
    return name


def _value(text: str) -> float:
    if text.strip().lower() == "undefined":
        return math.nan
    return float(text[:-1]) / 100 if text.endswith("%") else float(text)


def _number(pattern: str, head: str, path: str | Path) -> int:
    match = re.search(pattern, head)
    if match is None:
        raise ValueError(f"expected a line like {pattern!r} in {path}, found none")
    return int(match[1])


def read_fanmod(path: str | Path, *, nodes: int | None = None) -> csr_array | FanmodMotifs:
    """Read a file of FANMOD: a signed network, or the motifs that FANMOD counted.

    Args:
        path: path of the file; its first line tells which of the two it is.
        nodes: number of nodes of a network; by default one more than its largest number.

    Returns:
        For a network, the values +1 and -1, float64 ``[nodes, nodes]``; rows are targets. For a
        file of motifs (CSV), :class:`FanmodMotifs`.

    Raises:
        ValueError: a colour other than 1 and 2; whatever
            :func:`sparse_engine.convert.read_edge_list` refuses; or a damaged motif file, or one
            of motifs that do not have three nodes.
        OSError: the file cannot be read.
    """
    if is_fanmod_motifs(path):
        return read_fanmod_motifs(path)
    return convert.to_scipy(read_graph(path, format="fanmod", nodes=nodes))


def write_fanmod(w: GraphLike, path: str | Path) -> None:
    """Write the signs of a graph's links atomically, in the order of sources and targets.

    Raises:
        TypeError: not a graph.
        ValueError: a link of value 0, for which there is no colour; or not a valid graph.
    """
    links = as_csr(w).tocsc().tocoo()
    if not links.data.all():
        at = int((links.data == 0).argmax())
        raise ValueError(
            f"expected links that are positive or negative, found 0 from {links.col[at]} to "
            f"{links.row[at]}"
        )
    colours = np.where(links.data > 0, 1, 2)
    lines = (
        f"{source}\t{target}\t{colour}\n"
        for source, target, colour in zip(links.col, links.row, colours, strict=True)
    )
    write_atomically(Path(path), "".join(lines).encode())
