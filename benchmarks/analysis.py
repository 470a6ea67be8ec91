"""What the analysis of a graph costs, and against networkx and igraph.

The targets are for two cores; they are shown beside what was measured, and nothing fails.
"""

from __future__ import annotations

from collections.abc import Callable

import networkx as nx
import numpy as np
import tyro
from scipy.sparse import coo_array, csr_array

from benchmarks._harness import Options
from benchmarks._report import Row, progress, quartiles, report
from sparse_engine.analysis import sign_shuffle, structural_balance, triad_census


def graph(nodes: int, links: int, *, tail: float = 0.0) -> csr_array:
    """A random signed digraph.

    Args:
        nodes: how many.
        links: how many; with a tail fewer, where one is drawn twice.
        tail: 0 for links that are equally likely, otherwise the exponent with which the
            popularity of a node, as a source and as a target, falls with its rank.
    """
    rng = np.random.default_rng(0)
    if tail:
        popularity = np.arange(1, nodes + 1) ** -tail
        ends = rng.choice(nodes, (2, links), p=popularity / popularity.sum())
        cells = np.unique(ends[0] * nodes + ends[1])
    else:
        cells = np.sort(rng.choice(nodes**2, links, replace=False, shuffle=False))
    return coo_array(
        (rng.normal(size=len(cells)), divmod(cells, nodes)), shape=(nodes, nodes)
    ).tocsr()


def networkx_census(w: csr_array) -> Callable[[], object]:
    """The peer that everyone has."""
    peer = nx.from_scipy_sparse_array(w.T, create_using=nx.DiGraph)
    return lambda: nx.triadic_census(peer)


def igraph_census(w: csr_array) -> Callable[[], object]:
    """The fastest peer; an optional one."""
    import igraph

    coo = w.tocoo()
    links = np.stack([coo.col, coo.row], axis=1)[coo.col != coo.row]
    peer = igraph.Graph(n=w.shape[0], edges=links.tolist(), directed=True)
    return peer.triad_census


def row(
    name: str, w: csr_array, runs: dict[str, Callable[[], object]], *, target: str, options: Options
) -> Row:
    """The time of the first of the runs, beside its target and the other runs."""
    timings = options.measure(runs)
    ours, *peers = timings
    ms = {peer: timing.median / timings[ours].median for peer, timing in timings.items()}
    return {
        "analysis": name,
        "n": w.shape[0],
        "links": w.nnz,
        "ms": 1e3 * timings[ours].median,
        **{f"x {peer}": ms[peer] for peer in peers},
        "target": target,
        **quartiles(timings),
    }


def balance(nodes: int, links: int, target: str, options: Options, *, tail: float = 0.0) -> Row:
    """The full balance."""
    w = graph(nodes, links, tail=tail)
    return row(
        "balance", w, {"ours": lambda: structural_balance(w)}, target=target, options=options
    )


def census(nodes: int, links: int, peers: dict, target: str, options: Options) -> Row:
    """The census, beside that of other libraries, where they are installed."""
    w = graph(nodes, links)
    runs: dict[str, Callable[[], object]] = {"ours": lambda: triad_census(w)}
    for name, peer in peers.items():
        try:
            runs[name] = peer(w)
        except ImportError:
            continue
    if "networkx" in runs and runs["networkx"]() != runs["ours"]():
        raise AssertionError("expected the census of networkx, found another")
    return row("census", w, runs, target=target, options=options)


def shuffles(nodes: int, links: int, samples: int, target: str, options: Options) -> Row:
    """Balance beside that of shuffled signs."""
    w = graph(nodes, links)
    run = {"ours": lambda: sign_shuffle(w, samples)}
    return row(f"{samples} sign shuffles", w, run, target=target, options=options)


def run(options: Options) -> None:
    """Measures everything and reports it."""
    options.prepare()
    if options.quick:
        cases = [
            lambda: balance(20, 100, "-", options, tail=0.5),
            lambda: census(20, 100, {"networkx": networkx_census}, "-", options),
            lambda: shuffles(20, 100, 5, "-", options),
        ]
    else:
        igraph = {"igraph": igraph_census}
        cases = [
            lambda: balance(150, 22_500, "at most 30 ms", options),
            lambda: balance(150, 2_779, "at most 1 ms", options),
            lambda: balance(139_000, 2_700_000, "at most 1 s", options, tail=0.6),
            lambda: balance(139_000, 15_000_000, "at most 10 s", options, tail=0.6),
            lambda: census(2_000, 20_000, {"networkx": networkx_census}, "100 x networkx", options),
            lambda: census(100_000, 1_000_000, igraph, "5 x igraph", options),
            lambda: shuffles(150, 1_000, 500, "at most 100 ms", options),
        ]
    report("analysis", [case() for case in progress(cases, "analysis")], options)


if __name__ == "__main__":
    run(tyro.cli(Options, description=__doc__))
