"""Neural network sparse topology distance (NNSTD) between the wirings of networks."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import combinations

import numpy as np
import scipy.sparse
from scipy.sparse import csr_array
from tqdm.auto import tqdm

from sparse_engine.analysis.graph import threads
from sparse_engine.analysis.layers import Layer, NetworkLike, layers_of
from sparse_engine.analysis.matching import Matching, distance, match_units


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
    layers depend on the choice, which :func:`match_units` describes.

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
    """
    options = {"bound": bound, "constant_inputs": constant_inputs, "match_last": match_last}
    return _match(layers_of(a), layers_of(b), options, threads())


def distance_matrix(
    networks: Sequence[NetworkLike],
    *,
    bound: float = 0.0,
    constant_inputs: int = 0,
    match_last: bool = True,
    progress: bool = False,
) -> np.ndarray:
    """Return :func:`topology_distance` of all pairs of networks, on as many threads as torch uses.

    Each pair is compared once, with the network that comes first as ``a``.

    Args:
        networks: the networks, at least one.
        bound: as in :func:`topology_distance`.
        constant_inputs: as in :func:`topology_distance`.
        match_last: as in :func:`topology_distance`.
        progress: whether to show a progress bar.

    Returns:
        float64 ``[layers, networks, networks]``, symmetric, 0 on the diagonal.

    Raises:
        TypeError: an entry that is no network.
        ValueError: as in :func:`topology_distance`, or no networks.
    """
    if not len(networks):
        raise ValueError("expected at least one network, found none")
    options = {"bound": bound, "constant_inputs": constant_inputs, "match_last": match_last}
    wirings = [layers_of(network) for network in networks]
    matrix = np.zeros((len(wirings[0]), len(wirings), len(wirings)))
    pairs = [*combinations(range(len(wirings)), 2)]

    def compare(pair: tuple[int, int]) -> list[Matching]:
        i, j = pair
        return _match(wirings[i], wirings[j], options, 1)

    with ThreadPoolExecutor(threads()) as pool:
        results = pool.map(compare, pairs)
        for (i, j), layers in tqdm(
            zip(pairs, results, strict=True),
            total=len(pairs),
            unit="pair",
            leave=False,
            disable=None if progress else True,
        ):
            matrix[:, i, j] = matrix[:, j, i] = [layer.distance for layer in layers]
    return matrix


def _match(a: list[Layer], b: list[Layer], options: dict, threads: int) -> list[Matching]:
    if len(a) != len(b):
        raise ValueError(f"expected networks of as many layers, found {len(a)} and {len(b)}")
    matchings: list[Matching] = []
    for number, (one, other) in enumerate(zip(a, b, strict=True)):
        _check_shapes(number, one, other)
        if matchings:
            order = _order_of_inputs(number, one, matchings[-1].partner, options["constant_inputs"])
            other = replace(other, sources=_reorder(other.sources, order))
        if number == len(a) - 1 and not options["match_last"]:
            matchings.append(_in_order(one, other))
        elif one.own is None:
            bound = options["bound"]
            matchings.append(match_units(one.sources, other.sources, bound=bound, threads=threads))
        else:
            matchings.append(_match_recurrent(one, other, options["bound"], threads))
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
