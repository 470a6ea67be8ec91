"""The optic lobe of flyvis: cell types on a hexagonal lattice, and connections by offset."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.spatial import ConvexHull, QhullError

from sparse_engine.connectome.table import Connectome
from sparse_engine.errors import TableError


def read_flyvis(path: str | Path, *, extent: int = 15, fill: float = 1) -> Connectome:
    """Expand the connectome of flyvis (Lappalainen et al., Nature 2024) on the lattice.

    A connection of two cell types has a mean number of synapses for each offset of columns
    (du, dv): each neuron of the source type at (u, v) has a link to that of the target type at
    (u + du, v + dv).

    Args:
        path: path of flyvis's JSON file.
        extent: number of rings of columns around the central one.
        fill: number of synapses at offsets that are missing inside the convex hull of a
            connection's offsets, as in flyvis; 0 for none.

    Returns:
        A connectome whose table has the columns ``type``, ``u``, ``v``, ``input`` and ``output``.

    Raises:
        TableError: not such a file.

    Example:
        >>> eye = read_flyvis("fib25-fib19_v2.2.json", extent=5)
    """
    try:
        spec = json.loads(Path(path).read_bytes())
        nodes, edges = spec["nodes"], spec["edges"]
        neurons = pd.concat([_lattice(node, extent) for node in nodes], ignore_index=True)
        neurons.insert(0, "id", np.arange(len(neurons)))
        for role in ("input", "output"):
            neurons[role] = neurons["type"].isin(spec[f"{role}_units"])
        columns = [*_links(edges, neurons, fill)]
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise TableError(
            f"expected nodes and edges of flyvis in {path}, found: {error!r}; if the file is cut, "
            "get it again"
        ) from error
    pre, post, count, sign = (np.concatenate(each) for each in zip(*columns, strict=True))
    return Connectome.from_table(pre, post, count, sign=sign, neurons=neurons, unlinked=True)


def _lattice(node: dict[str, Any], extent: int) -> pd.DataFrame:
    pattern, argument = node["pattern"]
    if pattern == "single":
        extent = 0
    strides = {"stride": argument, "tile": [argument] * 2, "single": [1, 1]}[pattern]
    axis = np.arange(-extent, extent + 1)
    u, v = (each.ravel() for each in np.meshgrid(axis, axis, indexing="ij"))
    kept = (np.abs(u + v) <= extent) & (u % strides[0] == 0) & (v % strides[1] == 0)
    return pd.DataFrame({"type": node["name"], "u": u[kept], "v": v[kept]})


def _links(
    edges: list[dict[str, Any]], neurons: pd.DataFrame, fill: float
) -> Iterator[tuple[np.ndarray, ...]]:
    of_type = {name: group for name, group in neurons.groupby("type", sort=False)}
    for edge in edges:
        source, target = of_type[edge["src"]], of_type[edge["tar"]]
        places = pd.MultiIndex.from_frame(target[["u", "v"]])
        u, v, ids = (source[name].to_numpy() for name in ("u", "v", "id"))
        for du, dv, synapses in _offsets(edge["offsets"], fill):
            found = places.get_indexer(pd.MultiIndex.from_arrays([u + du, v + dv]))
            there = found >= 0
            post = target["id"].to_numpy()[found[there]]
            size = len(post)
            yield ids[there], post, np.full(size, float(synapses)), np.full(size, edge["alpha"])


def _offsets(offsets: list[Any], fill: float) -> list[tuple[int, int, float]]:
    """Return the offsets and numbers of synapses, with those inside of the convex hull."""
    known = {(du, dv): synapses for (du, dv), synapses in offsets}
    if fill > 0 and len(known) >= 3:
        points = np.array([*known])
        try:
            planes = ConvexHull(points).equations
        except QhullError:  # all offsets are on a line
            planes = np.empty((0, 3))
        low, high = points.min(0), points.max(0) + 1
        for point in np.ndindex(*(high - low)) if len(planes) else ():
            offset = tuple((low + point).tolist())
            inside = (planes[:, :2] @ offset + planes[:, 2] < 1e-3).all()
            if inside and offset not in known:
                known[offset] = fill
    return [(du, dv, synapses) for (du, dv), synapses in known.items()]
