"""Random wirings: uniform, of equal fan-in, near the diagonal, in groups, small, scale-free."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass

import numpy as np
from typing_extensions import override

from sparse_engine.nn import _initial
from sparse_engine.nn.options import check_fraction, check_number
from sparse_engine.ops import Links, RandomKey, Use
from sparse_engine.topology.apportion import apportion_logs
from sparse_engine.topology.init.wiring import Wiring
from sparse_engine.topology.links import links_at, sample_groups


@dataclass(frozen=True, kw_only=True)
class ErdosRenyi(Wiring):
    """Uniformly random links (Erdos and Renyi 1959; G(n, M)): all sets are equally likely.

    Give exactly one of the attributes. A null model, which makes random graphs to
    compare a graph with, is :class:`sparse_engine.analysis.ErdosRenyiNull`.

    Attributes:
        density: fraction of all positions, in (0, 1]: ``round(density * out * in)`` links.
        epsilon: SET's size (Mocanu et al. 2018): ``round(epsilon * (out + in))`` links, at most
            all positions.
        nnz: the number of links itself, at least 0.

    Raises:
        ValueError: none or several of them; in :meth:`links`, an nnz of more than all positions.

    Example:
        >>> wire(model, ErdosRenyi(density=0.5)); model.weight.nnz
        18
    """

    density: float | None = None
    epsilon: float | None = None
    nnz: int | None = None

    def __post_init__(self) -> None:
        given = [self.density, self.epsilon, self.nnz]
        if sum(size is not None for size in given) != 1:
            raise ValueError("expected exactly one of density, epsilon and nnz")
        if self.density is not None:
            _initial.check_density(self.density)
        if self.epsilon is not None:
            check_number("finite epsilon > 0", self.epsilon, lambda e: 0 < e < math.inf)
        if self.nnz is not None:
            check_number("nnz of at least 0", self.nnz, lambda n: n >= 0)

    @override
    def links(self, out_features: int, in_features: int, key: RandomKey) -> Links:
        if self.density is not None:
            nnz = _initial.density_nnz(out_features, in_features, self.density)
        elif self.epsilon is not None:
            nnz = _initial.epsilon_nnz(out_features, in_features, self.epsilon)
        else:
            nnz = self.nnz or 0
        return _initial.random_links(out_features, in_features, nnz, key)


@dataclass(frozen=True)
class ConstantFanIn(Wiring):
    """Random links of equal fan-in: each row has the same number, in uniformly random columns.

    ``out * fan_in`` links. Give exactly one of the attributes.

    Attributes:
        fan_in: links into each row, at least 0.
        density: density in (0, 1], which gives ``fan_in = round(density * in)``.

    Raises:
        ValueError: none or both of them; in :meth:`links`, a fan_in of more than all columns.

    Example:
        >>> wire(model, ConstantFanIn(3)); model.weight.fan_in().tolist()
        [3, 3, 3, 3, 3, 3]
    """

    fan_in: int | None = None
    _: KW_ONLY
    density: float | None = None

    def __post_init__(self) -> None:
        if (self.fan_in is None) == (self.density is None):
            raise ValueError("expected exactly one of fan_in and density")
        if self.density is not None:
            _initial.check_density(self.density)
        if self.fan_in is not None:
            check_number("fan_in of at least 0", self.fan_in, lambda n: n >= 0)

    @override
    def links(self, out_features: int, in_features: int, key: RandomKey) -> Links:
        fan_in = self.fan_in or 0 if self.density is None else round(self.density * in_features)
        if fan_in > in_features:
            raise ValueError(f"expected fan_in of at most {in_features}, found {fan_in}")
        counts, sizes = np.full(out_features, fan_in), np.full(out_features, in_features)
        rows, columns = sample_groups(counts, sizes, key.generator(Use.WIRING))
        return links_at(rows * in_features + columns, out_features, in_features)


@dataclass(frozen=True)
class ReceptiveField(Wiring):
    """Bipartite receptive fields after CHTs (Zhang et al. 2025), in time O(links).

    ``round(density * out * in)`` links. Row i sees column ``floor((i + 1/2) * in / out)`` best;
    d is the distance of another column from the best one, around the ring. The expected density at
    distance d is proportional to ``(1 + d) ** (-(1 - r) / r)`` with r the randomness, but at most
    1: what exceeds it goes to the other distances. Counts at each distance are exact to one link;
    which rows have them is uniformly random. So r = 0 takes the nearest columns only, and r = 1
    all distances alike.

    Attributes:
        density: fraction of all positions, in (0, 1].
        randomness: r, in [0, 1].

    Example:
        >>> wire(model, ReceptiveField(density=0.5, randomness=0.1))
    """

    density: float
    randomness: float

    def __post_init__(self) -> None:
        _initial.check_density(self.density)
        check_fraction("randomness", self.randomness)

    @override
    def links(self, out_features: int, in_features: int, key: RandomKey) -> Links:
        r = self.randomness
        # So steep that each distance outweighs the next e^64 times: as good as infinity.
        steepest = 64 * in_features
        steepness = min((1 - r) / r, steepest) if r else steepest
        turn = np.arange(in_features)
        offsets = np.where(turn % 2, -(turn + 1) // 2, turn // 2)
        nnz = _initial.density_nnz(out_features, in_features, self.density)
        heights = np.full(in_features, out_features)
        counts = apportion_logs(nnz, -steepness * np.log1p(np.abs(offsets)), heights)
        group, rows = sample_groups(counts, heights, key.generator(Use.WIRING))
        best = (2 * rows + 1) * in_features // (2 * out_features)
        positions = rows * in_features + (best + offsets[group]) % in_features
        return links_at(positions, out_features, in_features)


@dataclass(frozen=True)
class StochasticBlockModel(Wiring):
    """Stochastic block model (Holland et al., Social Networks 1983) with exact counts.

    The block of rows of group a and columns of group b has ``round(densities[a][b] * positions)``
    links at uniformly random positions; the weight has the sum. Groups are runs of consecutive
    units.

    Attributes:
        densities: ``[row groups][column groups]``, each in [0, 1].
        row_sizes: units in each group of rows; as equal as possible by default.
        column_sizes: the same for columns.

    Raises:
        ValueError: not a matrix of densities, or not as many sizes as groups; in :meth:`links`,
            sizes that do not sum to the units.

    Example:
        >>> wire(model, StochasticBlockModel([[1.0, 0.0], [0.0, 1.0]])); model.weight.nnz
        18
    """

    densities: Sequence[Sequence[float]]
    _: KW_ONLY
    row_sizes: Sequence[int] | None = None
    column_sizes: Sequence[int] | None = None

    def __post_init__(self) -> None:
        shape = np.shape(self.densities)
        if len(shape) != 2 or 0 in shape:
            raise ValueError(f"expected a matrix of densities, found shape {[*shape]}")
        outside = [d for row in self.densities for d in row if not 0 <= d <= 1]
        if outside:
            raise ValueError(f"expected densities in [0, 1], found {outside[0]}")
        for name, groups in zip(("row_sizes", "column_sizes"), shape, strict=True):
            sizes = getattr(self, name)
            if sizes is not None and (len(sizes) != groups or min(sizes) < 0):
                raise ValueError(f"expected {groups} {name} of at least 0, found {[*sizes]}")

    @classmethod
    def modular(cls, groups: int, *, within: float, between: float) -> StochasticBlockModel:
        """Make as many groups of rows as of columns: one density inside a group, one across.

        Raises:
            ValueError: fewer than one group, or a density outside [0, 1].
        """
        check_number("groups of at least 1", groups, lambda n: n >= 1)
        return cls(np.where(np.eye(groups, dtype=bool), within, between).tolist())

    @override
    def links(self, out_features: int, in_features: int, key: RandomKey) -> Links:
        densities = np.asarray(self.densities, np.float64)
        heights = _sizes("row_sizes", self.row_sizes, len(densities), out_features)
        widths = _sizes("column_sizes", self.column_sizes, densities.shape[1], in_features)
        sizes = np.outer(heights, widths)
        counts = np.rint(densities * sizes).astype(np.int64)
        block, place = sample_groups(counts.ravel(), sizes.ravel(), key.generator(Use.WIRING))
        above, left = np.divmod(block, len(widths))
        rows = (np.cumsum(heights) - heights)[above] + place // widths[left]
        columns = (np.cumsum(widths) - widths)[left] + place % widths[left]
        return links_at(rows * in_features + columns, out_features, in_features)


def _sizes(name: str, sizes: Sequence[int] | None, groups: int, units: int) -> np.ndarray:
    if sizes is None:
        return np.diff(np.arange(groups + 1) * units // groups)
    if sum(sizes) != units:
        raise ValueError(f"expected {name} that sum to {units}, found {sum(sizes)}")
    return np.asarray(sizes, np.int64)


@dataclass(frozen=True)
class WattsStrogatz(Wiring):
    """Small world: links from the nearest columns on a ring, a fraction of which is rewired.

    ``out * neighbours`` links, ``neighbours`` into every row. A square weight is one population:
    a unit is not its own neighbour, and without rewiring and with even ``neighbours`` the links
    are those of ``networkx.watts_strogatz_graph``, both directions of each edge. In any other
    shape row i stands on the ring of columns at ``(i + 1/2) * in / out``.

    Of all links exactly ``round(rewiring * nnz)``, uniformly chosen, move: the row stays, the
    column becomes a uniformly random one that is not a neighbour (nor, in a square weight, the
    unit itself). Each direction moves on its own. After Watts and Strogatz, Nature 1998.

    Attributes:
        neighbours: links into each row, at least 1.
        rewiring: fraction of the links that are rewired, in [0, 1].

    Raises:
        ValueError: in :meth:`links`, more neighbours than columns, or than half of them where links
            are rewired, so that a row might find no new column for each.

    Example:
        >>> wire(model, WattsStrogatz(neighbours=2, rewiring=0.1)); model.weight.nnz
        12
    """

    neighbours: int
    rewiring: float

    def __post_init__(self) -> None:
        check_number("neighbours of at least 1", self.neighbours, lambda n: n >= 1)
        check_fraction("rewiring", self.rewiring)

    @override
    def links(self, out_features: int, in_features: int, key: RandomKey) -> Links:
        near, square = self.neighbours, out_features == in_features
        columns = in_features - square
        most = columns // 2 if self.rewiring else columns
        if near > most:
            raise ValueError(
                f"expected neighbours of at most {most} in a {out_features} x {in_features} weight "
                f"with rewiring {self.rewiring}, found {near}"
            )
        rng = key.generator(Use.WIRING)
        nnz = out_features * near
        moved = sample_groups([round(self.rewiring * nnz)], [nnz], rng)[1]
        stay = np.delete(np.arange(nnz), moved)
        leaving = np.bincount(moved // near, minlength=out_features)
        new_rows, new_places = sample_groups(leaving, np.full(out_features, columns - near), rng)

        # Places count the columns of a row along the ring, its neighbours first.
        rows = np.concatenate([stay // near, new_rows])
        places = np.concatenate([stay % near, new_places + near])
        if square:
            start = rows - near // 2
            places += places >= near // 2
        else:
            start = ((2 * rows + 1) * in_features - (near - 1) * out_features) // (2 * out_features)
        positions = rows * in_features + (start + places) % in_features
        return links_at(positions, out_features, in_features)


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
        ValueError: in :meth:`links`, fewer units than it starts with.

    Example:
        >>> wire(SparseRNN(3, 64, density=0.1), BarabasiAlbert(attached=3))
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

    The first units are ``joined`` to others; every later one brings as many links as they do.
    ``takes_target`` tells whether links take the targets of the earlier links that they drew, or
    else the units that brought these.
    """
    attached = joined.shape[1]
    owner = np.repeat(np.arange(units), attached)
    target = end = np.concatenate([joined.ravel(), np.zeros(len(owner) - joined.size, np.int64)])
    # pointer[i] is the link whose target link i copies, or i itself if its end is known.
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
