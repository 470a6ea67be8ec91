"""Command ``sparse-engine distance``: distances between the wirings of networks."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import tyro
from scipy.sparse import csr_array

from sparse_engine import convert
from sparse_engine.analysis import RecurrentLayer, distance_matrix
from sparse_engine.analysis.layers import NetworkLike
from sparse_engine.lab.tables import aligned
from sparse_engine.lab.train import read_weights

EDGE_LISTS = (".csv", ".tsv", ".txt")
NETWORKS_HELP = (
    "Two or more. A run folder or a safetensors file; a folder of layers, one file each, in the "
    "order of their names; or the file of a single layer: SciPy's npz or an edge list (csv, tsv, "
    "txt)."
)


@dataclass(frozen=True)
class Distance:
    """Sparse topology distance (NNSTD) between the wirings of networks, layer by layer.

    The distance is 0 for the same wiring in any order of hidden units, and 1 for no common link.

    Example: sparse-engine distance runs/one runs/other

    Example: sparse-engine distance w0/ w1/ --inputs-as-rows --bias leave-out
    """

    networks: Annotated[
        tyro.conf.Positional[tuple[Path, ...]],
        tyro.conf.arg(metavar="NETWORK...", help=NETWORKS_HELP, help_behavior_hint=""),
    ]
    inputs_as_rows: bool = False
    """The rows of npz files are inputs, their columns units."""
    nodes: Annotated[
        int | None,
        tyro.conf.arg(
            metavar="N",
            help="Units of each edge list; by default one more than the largest number in the "
            "layer's files.",
        ),
    ] = None
    bias: Literal["none", "leave-out", "keep"] = "none"
    """Whether the last input of each npz file is a bias, and whether it counts."""
    recurrent: bool = False
    """Each file is a recurrent weight: its units are matched as targets and as sources at once."""
    keep_outputs: bool = False
    """The last layer's units stay in their order; by default they are matched, too."""
    bound: float = 0.0
    """Greatest allowed excess of a distance over the smallest, at least 0; saves time."""
    json: bool = False
    """Print one JSON object instead of a table."""
    plot: Annotated[Path | None, tyro.conf.arg(metavar="PNG")] = None
    """Draw the mean over the layers as a heat map, into this PNG file."""

    def __call__(self) -> int:
        """Run the command and return its exit status."""
        if len(self.networks) < 2:
            raise ValueError(f"expected at least two networks, found {len(self.networks)}")
        matrix = distance_matrix(
            self._read(),
            bound=self.bound,
            constant_inputs=int(self.bias == "keep"),
            match_last=not self.keep_outputs,
        )
        mean = matrix.mean(axis=0)
        if self.json:
            record = {"layers": matrix.tolist(), "mean": mean.tolist()}
            print(json.dumps({"networks": [*map(str, self.networks)], **record}, indent=1))
        elif len(self.networks) == 2:
            rows = [[f"layer {k}", f"{each:.6f}"] for k, each in enumerate(matrix[:, 0, 1])]
            print(aligned([*rows, ["mean", f"{mean[0, 1]:.6f}"]]))
        else:
            print("\n".join(f"{k:>3} {path}" for k, path in enumerate(self.networks)))
            head = ["", *(str(k) for k in range(len(mean)))]
            rows = [[str(k), *(f"{x:.4f}" for x in row)] for k, row in enumerate(mean)]
            print(f"\n{aligned([head, *rows])}")
        if self.plot is not None:
            self._draw(mean, self.plot)
        return 0

    def _draw(self, mean: np.ndarray, path: Path) -> None:
        from sparse_engine.lab import plot

        side = 4 + 0.3 * len(mean)
        shared = os.path.commonpath([path.absolute().parent for path in self.networks])
        labels = [os.path.relpath(path, shared) for path in self.networks]
        with plot.picture(path, size=(side + 1, side)) as axes:
            plot.distances(mean, axes, labels=labels)

    def _read(self) -> list[NetworkLike]:
        networks = [self._network(path) for path in self.networks]
        listed = [network for network in networks if isinstance(network, list)]
        # Edge lists do not tell how many units without links come last; equal sizes are assumed.
        for layers in zip(*listed, strict=False):
            edges = [layer for layer in layers if isinstance(layer, _EdgeList)]
            size = max((layer.shape[0] for layer in edges), default=0)
            for layer in edges:
                layer.resize((size, size))
        if self.recurrent:
            for network in listed:
                network[:] = map(RecurrentLayer, network)
        return networks

    def _network(self, path: Path) -> NetworkLike:
        if path.suffix == ".safetensors" or (path / "checkpoint.json").exists():
            return read_weights(path, nodes=self.nodes)
        if not path.is_dir():
            return [self._layer(path)]
        files = sorted(file for file in path.iterdir() if file.suffix in (".npz", *EDGE_LISTS))
        if not files:
            raise ValueError(f"expected a run, npz files or edge lists in {path}, found none")
        return [self._layer(file) for file in files]

    def _layer(self, path: Path) -> csr_array:
        if path.suffix != ".npz":
            # Whether the third column is a weight or a colour does not matter here.
            (edges,) = read_weights(path, format="edges", nodes=self.nodes).values()
            return _EdgeList(convert.to_scipy(edges))
        w: Any
        (w,) = read_weights(path, nodes=self.nodes).values()
        if self.inputs_as_rows:
            w = w.T.tocsr()
        return w[:, :-1] if self.bias == "leave-out" else w


class _EdgeList(csr_array):
    """Layer whose size is a guess: the smallest size that fits its links."""
