"""Links between units that have places in space."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass

import numpy as np
from numpy.typing import ArrayLike
from typing_extensions import override

from sparse_engine.extras import extra
from sparse_engine.nn import _initial
from sparse_engine.nn.options import check_number
from sparse_engine.ops import Links, RandomKey, Use
from sparse_engine.topology.init.wiring import Wiring
from sparse_engine.topology.links import links_at

BLOCK = 2**20


@dataclass(frozen=True, eq=False)
class ExponentialDistance(Wiring):
    """Links whose probability falls exponentially with length.

    ``round(density * out * in)`` entries, drawn one after the other without replacement with
    probability proportional to ``exp(-d / scale)``, d the Euclidean distance of the entry's two
    units (all at once, by exponential races: Efraimidis and Spirakis 2006). In a recurrent weight
    a unit is its own nearest.

    Memory is that of the links and of a block of 2^20 entries; time is ``out * in`` distances, or
    with ``candidates`` a k-d tree's search and ``out * candidates``. 100,000 x 100,000 needs
    candidates.

    Attributes:
        row_positions: ``[out, dimensions]``, where the target units are.
        column_positions: ``[in, dimensions]``, where the source units are.
        scale: the length at which the probability has fallen to 1/e, above 0.
        density: fraction of all entries, in (0, 1].
        candidates: each row may be linked to its that many nearest columns only; all by default.

    Raises:
        ValueError: positions that are not finite matrices of as many dimensions, or a number out
            of range; in :meth:`links`, another shape than the positions', or fewer candidates than
            links.
        ImportError: SciPy is not installed, in :meth:`links`.

    Example:
        >>> place = torch.rand(6, 3)
        >>> wire(model, ExponentialDistance(place, place, scale=0.2, density=0.3))
    """

    row_positions: ArrayLike
    column_positions: ArrayLike
    _: KW_ONLY
    scale: float
    density: float
    candidates: int | None = None

    def __post_init__(self) -> None:
        rows, columns = self._positions()
        if rows.ndim != 2 or columns.ndim != 2 or rows.shape[1] != columns.shape[1]:
            raise ValueError(
                "expected positions [out, dimensions] and [in, dimensions], found shapes "
                f"{[*rows.shape]} and {[*columns.shape]}"
            )
        if not (np.isfinite(rows).all() and np.isfinite(columns).all()):
            raise ValueError("expected finite positions, found others")
        check_number("scale > 0", self.scale, lambda scale: scale > 0)
        _initial.check_density(self.density)
        if self.candidates is not None:
            check_number("candidates of at least 1", self.candidates, lambda n: n >= 1)

    @override
    def links(self, out_features: int, in_features: int, key: RandomKey) -> Links:
        rows, columns = self._positions()
        if (out_features, in_features) != (len(rows), len(columns)):
            raise ValueError(
                f"expected a {len(rows)} x {len(columns)} weight for these positions, found "
                f"{out_features} x {in_features}"
            )
        nnz = _initial.density_nnz(out_features, in_features, self.density)
        most = out_features * min(self.candidates or in_features, in_features)
        if nnz > most:
            raise ValueError(f"expected at most {most} links among the candidates, found {nnz}")
        rng = key.generator(Use.WIRING)
        times, entries, latest = np.empty(0), np.empty(0, np.int64), np.inf
        for block_entries, lengths in self._blocks(rows, columns):
            # The logarithm of an exponential waiting time with the rate exp(-length / scale).
            arrival = lengths / self.scale - rng.gumbel(size=lengths.shape)
            early = arrival <= latest
            times = np.concatenate([times, arrival[early]])
            entries = np.concatenate([entries, block_entries[early]])
            if len(times) > nnz:
                first = np.argpartition(times, nnz)[:nnz]
                times, entries = times[first], entries[first]
                latest = times.max(initial=-np.inf)
        return links_at(entries, out_features, in_features)

    def _positions(self) -> list[np.ndarray]:
        return [
            np.asarray(each, np.float64) for each in (self.row_positions, self.column_positions)
        ]

    def _blocks(
        self, rows: np.ndarray, columns: np.ndarray
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield positions and their lengths, ``[rows of the block, columns or candidates]``."""
        with extra("analysis"):
            from scipy.spatial import cKDTree
            from scipy.spatial.distance import cdist
        width = min(self.candidates or len(columns), len(columns))
        tree = cKDTree(columns) if width < len(columns) else None
        height = max(1, BLOCK // max(1, width))
        for begin in range(0, len(rows), height):
            block = rows[begin : begin + height]
            row = np.arange(begin, begin + len(block))[:, None]
            if tree is None:
                lengths, column = cdist(block, columns), np.arange(len(columns))
            else:
                lengths, column = tree.query(block, k=np.arange(1, width + 1))
            yield row * len(columns) + column, lengths
