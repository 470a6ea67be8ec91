"""What it costs to compare the wirings of networks."""

from __future__ import annotations

from collections.abc import Callable

from scipy.sparse import csr_array, random_array

from benchmarks._harness import Options
from benchmarks._report import Row, quartiles
from sparse_engine.analysis import distance_matrix, topology_distance


def rows(options: Options) -> list[Row]:
    """The time of all pairs of small layers, and of one pair of large ones."""
    if options.quick:
        return [all_pairs(3, 20, 60, "-", options), pair(30, 90, 1e-3, "-", options)]
    return [
        all_pairs(10, 784, 3_600, "at most 1 s", options),
        pair(20_000, 2_000_000, 0.0, "at most 60 s", options),
        pair(100_000, 2_000_000, 1e-3, "-", options),
    ]


def layers(count: int, units: int, links: int) -> list[csr_array]:
    """Random square layers."""
    density = links / units**2
    return [
        csr_array(random_array((units, units), density=density, format="csr", rng=k))
        for k in range(count)
    ]


def all_pairs(count: int, units: int, links: int, target: str, options: Options) -> Row:
    """The matrix of so many networks of one layer."""
    nets = [[layer] for layer in layers(count, units, links)]
    name = f"distance, {count * (count - 1) // 2} pairs"
    return measured(name, lambda: distance_matrix(nets), units, links, target, options)


def pair(units: int, links: int, bound: float, target: str, options: Options) -> Row:
    """Two layers; exactly where the bound is 0."""
    a, b = ([layer] for layer in layers(2, units, links))
    name = f"distance, {f'within {bound:g}' if bound else 'exact'}"
    return measured(
        name, lambda: topology_distance(a, b, bound=bound), units, links, target, options
    )


def measured(
    name: str,
    run: Callable[[], object],
    units: int,
    links: int,
    target: str,
    options: Options,
) -> Row:
    """The row of one comparison."""
    timings = options.measure({"ours": run})
    return {
        "analysis": name,
        "n": units,
        "links": links,
        "ms": 1e3 * timings["ours"].median,
        "target": target,
        **quartiles(timings),
    }
