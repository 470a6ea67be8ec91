"""A wiring that is given."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from typing_extensions import override

from sparse_engine.convert import from_networkx, from_scipy, read_edge_list
from sparse_engine.nn import SparseWeight
from sparse_engine.ops import Links, RandomKey
from sparse_engine.topology.init.wiring import Wiring

if TYPE_CHECKING:
    import networkx as nx
    import scipy.sparse


@dataclass(frozen=True, eq=False)
class FromGraph(Wiring):
    """Links of a given graph, all of them and whatever the key.

    Only where the links are is taken. The functions of ``sparse_engine.convert`` make weights
    that have the graph's values too.

    Attributes:
        graph: a SciPy sparse matrix (rows are targets), a ``networkx.DiGraph`` (units in the
            graph's own order of nodes), the path of an edge-list file, or another weight.

    Raises:
        TypeError: something else; raised by :meth:`links`.
        ValueError: a graph of another shape, or what its reader in ``sparse_engine.convert``
            raises; raised by :meth:`links`.
    """

    graph: scipy.sparse.sparray | scipy.sparse.spmatrix | nx.DiGraph | str | Path | SparseWeight

    @override
    def links(self, out_features: int, in_features: int, key: RandomKey) -> Links:
        weight = self._weight((out_features, in_features))
        if weight.shape != (out_features, in_features):
            raise ValueError(
                f"expected a graph of shape {(out_features, in_features)}, found {weight.shape}"
            )
        crow, col, _ = weight.pattern.links
        return Links(crow.clone(), col.clone(), in_features)

    def _weight(self, shape: tuple[int, int]) -> SparseWeight:
        if isinstance(self.graph, SparseWeight):
            return self.graph
        if isinstance(self.graph, (str, Path)):
            return read_edge_list(self.graph, shape=shape)
        if hasattr(self.graph, "is_directed"):  # a graph of networkx, which may not be installed
            return from_networkx(self.graph)
        return from_scipy(self.graph)
