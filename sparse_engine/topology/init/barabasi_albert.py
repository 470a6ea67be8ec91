"""Scale-free wirings: units arrive one by one and prefer those with many links."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from typing_extensions import override

from sparse_engine.nn.options import check_number
from sparse_engine.ops import Links, RandomKey, Use
from sparse_engine.topology.init.wiring import Wiring
from sparse_engine.topology.links import links_at


@dataclass(frozen=True)
class BarabasiAlbert(Wiring):
    """Preferential attachment (Barabasi and Albert, Science 1999).

    A square weight is one population: units arrive in order, and each is joined to ``attached``
    different earlier ones, chosen in proportion to their degree; a fair coin gives each link its
    direction. ``n * attached`` links, at most one between two units; it starts with ``2 *
    attached + 1`` units that are all joined.

    In any other shape rows and columns arrive by turns in proportion to their number, and each is
    joined to ``attached`` units of the other side by the same rule. ``(out + in) * attached``
    links; it starts with ``2 * attached`` units of each side, all joined.

    The oldest units, which become the hubs, have the smallest numbers. An end of a uniformly
    random earlier link is a unit chosen in proportion to its degree, so that all units can draw
    at once (Batagelj and Brandes, Phys. Rev. E 71, 2005); of equal links of a unit all but one
    draw again.

    Attributes:
        attached: links that each unit brings, at least 1.

    Raises:
        ValueError: ``attached`` below 1; in :meth:`links`, fewer units than it starts with.
    """

    attached: int

    def __post_init__(self) -> None:
        check_number("attached of at least 1", self.attached, lambda n: n >= 1)

    @override
    def links(self, out_features: int, in_features: int, key: RandomKey) -> Links:
        square = out_features == in_features
        first = 2 * self.attached + square
        if min(out_features, in_features) < first:
            raise ValueError(
                f"expected at least {first} rows and columns for attached={self.attached}, found "
                f"{out_features} x {in_features}"
            )
        rng = key.generator(Use.WIRING)
        if square:
            rows, columns = self._one_population(out_features, rng)
        else:
            rows, columns = self._two_populations(out_features, in_features, rng)
        return links_at(rows * in_features + columns, out_features, in_features)

    def _one_population(
        self, units: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        first = 2 * self.attached + 1
        number = np.arange(first)[:, None]
        joined = (number - np.arange(1, self.attached + 1)) % first

        def takes_target(link: np.ndarray, earlier: np.ndarray) -> np.ndarray:
            return rng.random(len(link)) < 0.5

        owner, target = _attach(units, joined, takes_target, rng)
        turned = rng.random(len(owner)) < 0.5
        return np.where(turned, owner, target), np.where(turned, target, owner)

    def _two_populations(
        self, out_features: int, in_features: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        first = 2 * self.attached
        # Units by arrival: at first rows and columns alternate, then as their numbers demand.
        more = (out_features - first, in_features - first)
        times = np.concatenate([(np.arange(count) + 0.5) / max(count, 1) for count in more])
        order = np.argsort(times, kind="stable")
        is_column = np.concatenate([np.tile([False, True], first), order >= more[0]])
        later = first + np.where(order < more[0], order, order - more[0])
        number = np.concatenate([np.repeat(np.arange(first), 2), later])
        # Row i brings the columns i, i + 1, ... and a column brings the rows that did not.
        ahead = np.arange(self.attached)
        of_row = 2 * ((number[: 2 * first, None] + ahead) % first) + 1
        of_column = 2 * ((number[: 2 * first, None] - self.attached - ahead) % first)
        joined = np.where(is_column[: 2 * first, None], of_column, of_row)

        def takes_target(link: np.ndarray, earlier: np.ndarray) -> np.ndarray:
            return is_column[link // self.attached] == is_column[earlier // self.attached]

        owner, target = _attach(out_features + in_features, joined, takes_target, rng)
        row, column = np.where(is_column[owner], (target, owner), (owner, target))
        return number[row], number[column]


def _attach(
    units: int,
    joined: np.ndarray,
    takes_target: Callable[[np.ndarray, np.ndarray], np.ndarray],
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the unit that brings each link, and the unit that the link joins it to.

    Args:
        units: how many arrive; each brings as many links as the first ones.
        joined: ``[first units, attached]``, what the first units are joined to.
        takes_target: function of links and of the earlier links that they drew: whether a link
            takes the target of its draw, or else the unit that brought it.
        rng: generator of the random numbers.
    """
    attached = joined.shape[1]
    owner = np.repeat(np.arange(units), attached)
    target = end = np.concatenate([joined.ravel(), np.zeros(len(owner) - joined.size, np.int64)])
    # A link that takes a target points at that link; any other points at itself and knows its end.
    pointer = np.arange(len(owner))
    draws = np.arange(joined.size, len(owner))
    while draws.size:
        earlier = rng.integers(0, owner[draws] * attached)
        copies = takes_target(draws, earlier)
        pointer[draws] = np.where(copies, earlier, draws)
        end[draws] = owner[earlier]
        root = pointer
        while (root != root[root]).any():
            root = root[root]
        target = end[root]
        draws = _repeated(target.reshape(units, attached))
    return owner, target


def _repeated(targets: np.ndarray) -> np.ndarray:
    """Return the flat positions of the entries that occur earlier in their row."""
    order = np.argsort(targets, axis=1, kind="stable")
    ranked = np.take_along_axis(targets, order, 1)
    row, place = np.nonzero(ranked[:, 1:] == ranked[:, :-1])
    return row * targets.shape[1] + order[row, place + 1]
