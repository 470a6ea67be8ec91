"""Command ``sparse-engine analyze``: structural balance, motifs and summaries of networks."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from scipy.sparse import csr_array
from tqdm.auto import tqdm

from sparse_engine import analysis, convert
from sparse_engine.analysis import DegreePreserving, ErdosRenyiNull, SignShuffle
from sparse_engine.analysis.graph import GraphFormat
from sparse_engine.analysis.motifs import CLASSES
from sparse_engine.analysis.null_model import NullModel
from sparse_engine.lab.tables import aligned, shown
from sparse_engine.lab.train import read_weights
from sparse_engine.nn import SparseWeight

NULLS = {
    "sign-shuffle": SignShuffle(),
    "degree": DegreePreserving(),
    "degree-mutual": DegreePreserving(keep_mutual=True),
    "erdos-renyi": ErdosRenyiNull(),
}
FILES_HELP = (
    "Run folders, state dicts (safetensors, or pt of torch.save), npz files of SciPy (rows are "
    "targets), or edge lists: "
    '"Id,Source,Target,Weight" with that header, or tab-separated without one, also FANMOD\'s.'
)
FORMAT_HELP = (
    "What the third column of edge lists is. edges: a weight; fanmod: FANMOD's colour, 1 for "
    "positive and 2 for negative. To be given where the column has nothing but 1 and 2."
)
NODES_HELP = (
    "Number of nodes of each edge list, of which the last may have no links; by default one more "
    "than the largest number in it."
)
NULL_HELP = (
    "What random graphs to compare with. sign-shuffle: the same links; degree: links in and out of "
    "each node, by sign, stay; degree-mutual: its mutual pairs, too; erdos-renyi: links anywhere."
)
#: Number of motifs in the table of a null model.
SHOWN = 12


@dataclass(frozen=True)
class Analyze:
    """Structural balance, motifs and summaries of signed directed graphs.

    Example: sparse-engine analyze edges.csv --null sign-shuffle --samples 500

    Example: sparse-engine analyze runs/mackey-glass --plot structure.png
    """

    files: Annotated[
        tyro.conf.Positional[tuple[Path, ...]],
        tyro.conf.arg(metavar="FILE...", help=FILES_HELP, help_behavior_hint=""),
    ]
    null: Annotated[  # type: ignore[valid-type]
        Literal[tuple(NULLS)] | None,
        tyro.conf.arg(metavar="KIND", help=NULL_HELP),
    ] = None
    samples: int = 500
    """Number of random graphs, at least 2."""
    seed: int = 0
    """Seed of the random graphs, at least 0."""
    format: Annotated[GraphFormat | None, tyro.conf.arg(metavar="FORMAT", help=FORMAT_HELP)] = None
    nodes: Annotated[int | None, tyro.conf.arg(metavar="N", help=NODES_HELP)] = None
    without_zeros: bool = False
    """Leave out links of value 0, which have no sign, such as new links of a rewiring."""
    json: bool = False
    """Print one JSON object, by file, instead of tables."""
    plot: Annotated[Path | None, tyro.conf.arg(metavar="PNG")] = None
    """Draw degrees, weights and feed-forward loops, a row for each graph, into this PNG file."""

    def __call__(self) -> int:
        """Run the command and return its exit status."""
        if not self.files:
            raise ValueError("expected at least one file")
        for name, least in (("samples", 2), ("seed", 0)):
            if (found := getattr(self, name)) < least:
                raise ValueError(f"expected --{name} of at least {least}, found {found}")
        graphs = dict(self._graphs())
        records, nulls = {}, {}
        for name, w in tqdm(graphs.items(), unit="graph", leave=False, disable=None):
            record: dict[str, Any] = {
                "structure": analysis.summarize(w).to_dict(),
                "balance": analysis.structural_balance(w).to_dict(),
                "census": analysis.triad_census(w),
                "signed_census": analysis.signed_triad_census(w),
                "feed_forward_loops": analysis.feed_forward_loops(w),
            }
            if self.null is not None:
                kind = NULLS[self.null]
                nulls[name] = analysis.null_model(w, kind=kind, n=self.samples, seed=self.seed)
                record["null"] = nulls[name].to_dict()
            records[name] = record
            if not self.json:
                tqdm.write("\n\n".join([name, *_tables(record)]) + "\n")
            _warn_of_one_sign(name, w)
        if self.json:
            print(json.dumps(records, indent=1))
        if self.plot is not None:
            _draw(graphs, nulls, self.plot)
        return 0

    def _graphs(self) -> Iterator[tuple[str, csr_array]]:
        for file in self.files:
            weights = read_weights(file, format=self.format, nodes=self.nodes)
            square = {name: w for name, w in weights.items() if w.shape[0] == w.shape[1]}
            if not square:
                shapes = ", ".join(f"{' x '.join(map(str, w.shape))}" for w in weights.values())
                raise ValueError(f"expected a square weight in {file}, found {shapes}")
            for name, w in square.items():
                w = convert.to_scipy(w) if isinstance(w, SparseWeight) else w
                if self.without_zeros:
                    w.eliminate_zeros()
                yield f"{file}:{name}" if len(square) > 1 else str(file), w


def _warn_of_one_sign(name: str, w: csr_array) -> None:
    if w.nnz and not (w.data < 0).any():
        warning = f"no link of {name} is negative, which makes every semicycle balanced"
        tqdm.write(f"sparse-engine: warning: {warning}", file=sys.stderr)


def _tables(record: dict[str, Any]) -> Iterator[str]:
    yield aligned(
        [
            [name.replace("_", " "), f"{x:,}" if isinstance(x, int) else shown(x)]
            for name, x in record["structure"].items()
        ]
    )
    balance = record["balance"]
    pooled = [sum(counts) for counts in zip(*balance["classes"].values(), strict=True)]
    rows = [["class", "balanced", "semicycles", "ratio"]]
    for name, (part, all_) in {
        **balance["classes"], "pooled": pooled, "whole triads": balance["triads"]
    }.items():  # fmt: skip
        rows.append([name, f"{part:,}", f"{all_:,}", shown(part / all_ if all_ else None, ".6f")])
    yield aligned([*rows, ["class mean", "", "", shown(balance["class_mean"], ".6f")]])
    if null := record.get("null"):
        # The balances, and the types with the largest z-scores.
        types = [name for name in null if ":" in name and null[name]["z"] is not None]
        types.sort(key=lambda name: -abs(null[name]["z"]))
        balances = [name for name in null if name.partition(":")[0] not in CLASSES]
        rows = [[name, *map(shown, null[name].values())] for name in balances + types[:SHOWN]]
        yield aligned([["statistic", "observed", "by chance", "z", "p"], *rows])
    for counts in (record["census"], record["feed_forward_loops"]):
        entries = [f"{name:>6}{count:>16,}" for name, count in counts.items()]
        yield "\n".join("".join(entries[first : first + 4]) for first in range(0, len(entries), 4))


def _draw(graphs: dict[str, csr_array], nulls: dict[str, NullModel], path: Path) -> None:
    from sparse_engine.lab import plot

    with plot.panels(path, len(graphs), 3, size=(14, 4 * len(graphs))) as rows:
        for (degrees, weights, loops), (name, w) in zip(rows, graphs.items(), strict=True):
            plot.degrees(analysis.degree_distribution(w), degrees)
            plot.weights(analysis.weight_distribution(w), weights)
            plot.loops(analysis.feed_forward_loops(w), loops, null=nulls.get(name))
            degrees.set_title(name, loc="left", fontsize=10)
