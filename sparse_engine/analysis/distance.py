"""Neural network sparse topology distance (NNSTD) between the wirings of networks."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import combinations
from typing import NamedTuple

import numpy as np
import scipy.sparse
from scipy.sparse import csr_array
from tqdm.auto import tqdm

from sparse_engine.analysis._matching import ONE, match
from sparse_engine.analysis.graph import threads as default_threads
from sparse_engine.analysis.layers import Layer, NetworkLike, layers_of
from sparse_engine.convert.scipy import as_canonical


def topology_distance(
    a: NetworkLike,
    b: NetworkLike,
    *,
    bound: float = 0.0,
    constant_inputs: int = 0,
    match_last: bool = True,
) -> list[float]:
    """Return the distance in [0, 1] between the wirings of two networks, for each layer.

    The units of a layer are matched such that their sets of inputs differ the least. The distance
    is the mean Jaccard distance of the matched pairs, exactly. The inputs of the next layer are
    compared in the order of the matched units. See Liu et al., "Topological insights into sparse
    neural networks", ECML-PKDD 2020. Where several matchings are best, the distances of deeper
    layers depend on the choice, which ``match_units`` describes.

    The units of a :class:`RecurrentLayer` are inputs of each other, so a matching reorders rows and
    columns of the recurrent weight, and the rows of all gates alike. Finding the best matching is a
    quadratic assignment problem; this function finds a local optimum. It first matches units by
    their inputs from the layer below, or by their order where the input weight is dense. It then
    matches them by all inputs, in the order found before, for as long as the distance falls. The
    result is the distance of an actual order, so never below the smallest distance. To match rows
    alone, with columns in place, pass the recurrent weight itself as a layer.

    Args:
        a: a module or a list of layers, see :func:`~sparse_engine.analysis.layers.layers_of`.
        b: a network whose layers have the same shapes.
        bound: greatest allowed excess of a layer's distance over the smallest; saves time.
        constant_inputs: number of each layer's last inputs that are no units, such as one for
            biases; they keep their positions. (The paper leaves biases out.)
        match_last: whether the units of the last layer are matched as in the paper, or keep their
            order, as outputs with a meaning do.

    Raises:
        TypeError: an argument that is no network.
        ValueError: different shapes, layers that do not fit each other, or ``bound`` below 0.

    Example:
        >>> model = SparseRNN(2, 64, density=0.1)
        >>> topology_distance(model, copy.deepcopy(model))
        [0.0]
    """
    return [
        layer.distance
        for layer in match_networks(
            a, b, bound=bound, constant_inputs=constant_inputs, match_last=match_last
        )
    ]


def match_networks(
    a: NetworkLike,
    b: NetworkLike,
    *,
    bound: float = 0.0,
    constant_inputs: int = 0,
    match_last: bool = True,
) -> list[Matching]:
    """Return the matchings behind :func:`topology_distance`, for the same arguments.

    The matching of a recurrent layer has no proven bound: its gap is the distance itself.

    Example:
        >>> matchings = match_networks(SparseRNN(2, 16, density=0.3), SparseRNN(2, 16, density=0.3))
    """
    return _match(layers_of(a), layers_of(b), default_threads(), bound, constant_inputs, match_last)


def distance_matrix(
    networks: Sequence[NetworkLike],
    *,
    bound: float = 0.0,
    constant_inputs: int = 0,
    match_last: bool = True,
) -> np.ndarray:
    """Return :func:`topology_distance` of all pairs of networks, on as many threads as torch uses.

    Each pair is compared once, with the network that comes first as ``a``.

    Args:
        networks: the networks, at least one.
        bound: as in :func:`topology_distance`.
        constant_inputs: as in :func:`topology_distance`.
        match_last: as in :func:`topology_distance`.

    Returns:
        float64 ``[layers, networks, networks]``, symmetric, 0 on the diagonal.

    Raises:
        TypeError: an entry that is no network.
        ValueError: as in :func:`topology_distance`, or no networks.

    Example:
        >>> distance_matrix([SparseRNN(2, 16, density=0.3) for _ in range(3)]).shape
        (1, 3, 3)
    """
    if not len(networks):
        raise ValueError("expected at least one network, found none")
    wirings = [layers_of(network) for network in networks]
    matrix = np.zeros((len(wirings[0]), len(wirings), len(wirings)))
    pairs = [*combinations(range(len(wirings)), 2)]

    def compare(pair: tuple[int, int]) -> list[Matching]:
        i, j = pair
        return _match(wirings[i], wirings[j], 1, bound, constant_inputs, match_last)

    with ThreadPoolExecutor(default_threads()) as pool:
        results = pool.map(compare, pairs)
        for (i, j), layers in tqdm(
            zip(pairs, results, strict=True),
            total=len(pairs),
            unit="pair",
            leave=False,
            delay=1,
            disable=None,
        ):
            matrix[:, i, j] = matrix[:, j, i] = [layer.distance for layer in layers]
    return matrix


def _match(
    a: list[Layer],
    b: list[Layer],
    threads: int,
    bound: float,
    constant_inputs: int,
    match_last: bool,
) -> list[Matching]:
    if len(a) != len(b):
        raise ValueError(f"expected networks of as many layers, found {len(a)} and {len(b)}")
    matchings: list[Matching] = []
    for number, (one, other) in enumerate(zip(a, b, strict=True)):
        _check_shapes(number, one, other)
        if matchings:
            order = _order_of_inputs(number, one, matchings[-1].partner, constant_inputs)
            other = replace(other, sources=_reorder(other.sources, order))
        if number == len(a) - 1 and not match_last:
            matchings.append(_in_order(one, other))
        elif one.own is None:
            matchings.append(match_units(one.sources, other.sources, bound=bound, threads=threads))
        else:
            matchings.append(_match_recurrent(one, other, bound, threads))
    return matchings


def _match_recurrent(a: Layer, b: Layer, bound: float, threads: int) -> Matching:
    """Return a locally optimal matching, see :func:`topology_distance`."""
    best = _in_order(a, b)
    if a.sources.nnz or b.sources.nnz:
        start = match_units(a.sources, b.sources, bound=bound, threads=threads).partner
        best = _with_partner(a, b, start)
    whole = _all_inputs(a, np.arange(a.units))
    while best.distance > 0:
        ordered = _all_inputs(b, best.partner)
        found = match_units(whole, ordered, bound=bound, threads=threads).partner
        better = _with_partner(a, b, found)
        if better.distance >= best.distance:
            break
        best = better
    return best


def _in_order(a: Layer, b: Layer) -> Matching:
    return _with_partner(a, b, np.arange(a.units))


def _with_partner(a: Layer, b: Layer, partner: np.ndarray) -> Matching:
    whole = _all_inputs(a, np.arange(a.units))
    found = distance(whole, _all_inputs(b, partner), partner)
    return Matching(found, partner, found)


def _all_inputs(layer: Layer, partner: np.ndarray) -> csr_array:
    """Return all inputs of a layer, its own units in the order of their partners."""
    if layer.own is None:
        return layer.sources
    return scipy.sparse.hstack([layer.sources, _reorder(layer.own, partner)], "csr")


def _reorder(w: csr_array, order: np.ndarray) -> csr_array:
    """Return ``w[:, order]`` within each gate."""
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    gate, source = np.divmod(w.indices, max(1, len(order)))
    columns = (gate * len(order) + place[source]).astype(np.int32)
    moved = csr_array((w.data, columns, w.indptr), w.shape)
    moved.sort_indices()
    return moved


def _order_of_inputs(number: int, layer: Layer, partner: np.ndarray, constant: int) -> np.ndarray:
    if layer.own is not None and not layer.inputs:
        return np.arange(0)
    if layer.inputs != len(partner) + constant:
        raise ValueError(
            f"expected layer {number} to have the {len(partner)} units of the layer before and "
            f"{constant} constant ones as inputs, found {layer.inputs}"
        )
    return np.concatenate([partner, np.arange(len(partner), layer.inputs)])


def _check_shapes(number: int, a: Layer, b: Layer) -> None:
    def shape(layer: Layer) -> str:
        kind = "recurrent " if layer.own is not None else ""
        gates = f" and {layer.gates} gates" if layer.gates > 1 else ""
        return f"{kind}{layer.units} x {layer.inputs}{gates}"

    if shape(a) != shape(b):
        raise ValueError(
            f"expected layer {number} to be of one shape, found {shape(a)} and {shape(b)}"
        )


class Matching(NamedTuple):
    """Matching of the units of a layer in networks a and b.

    Attributes:
        distance: mean over the pairs of the Jaccard distance ``|A xor B| / |A or B|`` of their sets
            of inputs, which is 0 where both are empty.
        partner: int64 ``[units]``, unit ``partner[i]`` of b belongs to unit i of a.
        gap: bound such that no matching has a distance below ``distance - gap``.
    """

    distance: float
    partner: np.ndarray
    gap: float


def match_units(
    a: csr_array, b: csr_array, *, bound: float = 0.0, threads: int | None = None
) -> Matching:
    """Return the matching of the units of two layers that has the smallest distance.

    Only units with a common input have a distance below 1, so the best matching is the one with the
    largest sum of Jaccard similarities in a sparse graph. Similarities are rounded down to
    multiples of 2^-40; the matching is exact for the rounded ones. Among equally good matchings the
    choice is the same for any number of threads: units are matched in the order of their numbers,
    and prefer the unit of the same number, then the next higher numbers, cyclically. Units that
    gain nothing from any matching keep their number if possible, and are paired in order otherwise.

    Memory is O(links + 32 units), or more where many pairs are equally similar. There is no table
    of all pairs.

    Args:
        a: matrix in any of SciPy's formats, whose row i has the inputs of unit i; values do not
            matter.
        b: matrix of the same shape for the other layer.
        bound: greatest allowed excess of the distance over the smallest, at least 0. It saves time,
            most of all in large layers with few links, where many pairs are equally similar.
        threads: number of threads that compute similarities; by default that of torch.
    """
    a, b = as_canonical(a), as_canonical(b)
    if a.shape != b.shape:
        raise ValueError(f"expected two layers of one shape, found {a.shape} and {b.shape}")
    if not bound >= 0:
        raise ValueError(f"expected bound of at least 0, found {bound}")
    units = a.shape[0]
    partner, gap = match(
        *_native(a),
        *_native(b),
        *_native(b.T.tocsr()),
        int(min(bound, 1.0) * ONE),
        default_threads() if threads is None else threads,
    )
    partner = partner.astype(np.int64)
    empty_a, empty_b = np.diff(a.indptr) == 0, np.diff(b.indptr) == 0
    _pair_off(partner, empty_a, empty_b)
    _pair_off(partner, partner < 0, _alone(partner))
    return Matching(distance(a, b, partner), partner, gap / max(1, units) / ONE)


def distance(a: csr_array, b: csr_array, partner: np.ndarray) -> float:
    """Return the mean Jaccard distance of the rows ``a[i]`` and ``b[partner[i]]``; 0 of no rows."""
    ones_a, ones_b = (csr_array((np.ones(w.nnz), w.indices, w.indptr), w.shape) for w in (a, b))
    ones_b = ones_b[partner]
    common = np.asarray(ones_a.multiply(ones_b).sum(axis=1)).ravel()
    either = np.diff(ones_a.indptr) + np.diff(ones_b.indptr) - common
    return float((1 - common / np.maximum(either, 1))[either > 0].sum() / max(1, len(either)))


def _native(w: csr_array) -> tuple[np.ndarray, np.ndarray]:
    return w.indptr.astype(np.int64), w.indices.astype(np.int32)


def _alone(partner: np.ndarray) -> np.ndarray:
    alone = np.ones(len(partner), bool)
    alone[partner[partner >= 0]] = False
    return alone


def _pair_off(partner: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> None:
    """Pair the masked rows and columns: those of equal numbers first, the others in order."""
    same = rows & columns
    partner[same] = np.flatnonzero(same)
    rows, columns = np.flatnonzero(rows & ~same), np.flatnonzero(columns & ~same)
    count = min(len(rows), len(columns))
    partner[rows[:count]] = columns[:count]
