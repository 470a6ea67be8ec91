"""The neural network sparse topology distance (NNSTD): how differently two networks are wired."""

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
    """The distance of the wirings of two networks, of each layer, in [0, 1].

    The units of a layer are matched such that their sets of inputs differ the least; the distance
    is what is left, the mean Jaccard distance of the pairs, exactly. The next layer's inputs are
    then compared in the order in which the units were matched. After Liu et al., "Topological
    insights into sparse neural networks", ECML-PKDD 2020. Deeper layers depend on which of
    several best matchings was taken before; :func:`~sparse_engine.analysis.match_units` says which
    it is.

    The units of a :class:`RecurrentLayer` are inputs of each other, so a matching orders both
    sides of the recurrent weight, the rows of all gates alike. The best one is a quadratic
    assignment problem, and what is found is a local optimum: units are matched by their inputs from
    the layer below (or, without a sparse one, in their order); then by all inputs, in the order
    found, for as long as the distance falls. The distance is one of an actual order, so never below
    the smallest. To match rows alone, by recurrent inputs that stay in place, give the recurrent
    weight itself as a layer.

    Args:
        a: a list of layers, or a module, see :func:`~sparse_engine.analysis.layers.layers_of`.
        b: likewise, with layers of the same shapes.
        bound: how much more than the smallest a layer's distance may be; saves time.
        constant_inputs: how many of each layer's last inputs are no units, as one of biases, and
            stay in place. (The paper leaves biases out.)
        match_last: whether the last layer's units are matched too, as in the paper, or stay in
            their order, as outputs that mean something do.

    Raises:
        TypeError: not networks.
        ValueError: other shapes, layers that do not follow each other, or ``bound`` below 0.

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
    """The matchings behind :func:`topology_distance`, which has the arguments and errors.

    Of a recurrent layer nothing is proved: its gap is the distance itself.
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
    """:func:`topology_distance` of all pairs of networks, on as many threads as torch uses.

    Each pair is compared once, the one that comes first as ``a``.

    Args:
        networks: at least one.
        bound: as there, like the next two.
        constant_inputs: as there.
        match_last: as there.
        progress: show a progress bar.

    Returns:
        float64 ``[layers, networks, networks]``, symmetric, 0 on the diagonal.

    Raises:
        TypeError: not networks.
        ValueError: as there, or no networks.
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
    """A local optimum; see :func:`topology_distance`."""
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
    """Inputs from below, and from the layer itself in the order of its partners."""
    if layer.own is None:
        return layer.sources
    return scipy.sparse.hstack([layer.sources, _reorder(layer.own, partner)], "csr")


def _reorder(w: csr_array, order: np.ndarray) -> csr_array:
    """``w[:, order]`` within each of its gates."""
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
