"""A connectome: a table of neurons, and the links between them in CSR."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from sparse_engine.connectome.ids import Numbering, as_arrow
from sparse_engine.connectome.network import ConnectomeNetwork
from sparse_engine.connectome.stream import Columns, LinkStream, Synapses
from sparse_engine.connectome.transmitters import SIGNS
from sparse_engine.connectome.weights import Weights
from sparse_engine.errors import TableError
from sparse_engine.nn import Recurrent, SparseWeight
from sparse_engine.ops import Pattern

#: A table of neurons with the column ``id``: a DataFrame, an Arrow table, or arrays by name.
NeuronsLike: TypeAlias = pd.DataFrame | pa.Table | Mapping[str, Any]
#: Neurons of a connectome: a function of its table, a mask ``[neurons]``, their ids, or the values
#: of columns, such as ``{"type": ["T4a", "T4b"]}``.
Where: TypeAlias = Callable[[pd.DataFrame], Any] | Mapping[str, Any] | np.ndarray | pd.Series | list


class Connectome:
    """Neurons and the links between them, with numbers of synapses and signs.

    It does not change: methods return another connectome. Make one with :meth:`from_table`, or
    read a file (:func:`sparse_engine.connectome.read`).

    Attributes:
        neurons: table with the column ``id``, int64 or text, unique, and any other columns. Row i
            is neuron i.
        pattern: the links, ``[neurons, neurons]``: rows are postsynaptic neurons, columns
            presynaptic ones.
        count: number of synapses of each link, ``[nnz]``, above 0: int32 or int64, or floating
            point where the source has means.
        sign: sign of each link, int8 ``[nnz]``: 1, -1, or 0 where it is unknown.

    Example:
        >>> brain = Connectome.from_table(["a", "a", "b"], ["b", "b", "c"], [2, 3, 1])
        >>> brain
        Connectome(3 neurons, 2 links, 6 synapses)
        >>> brain.links()
          pre post  count  sign
        0   a    b      5     0
        1   b    c      1     0
    """

    def __init__(self, neurons: pd.DataFrame, links: Synapses) -> None:
        self.neurons = neurons.reset_index(drop=True)
        size = len(neurons)
        crow, col = torch.from_numpy(links.crow), torch.from_numpy(links.col)
        self.pattern = Pattern.from_csr(crow, col, (size, size))
        self.count, self.sign = links.synapses, links.sign
        for name, each in (("count", self.count), ("sign", self.sign)):
            if each.shape != (self.nnz,):
                raise ValueError(f"expected {name} of shape [{self.nnz}], found {[*each.shape]}")

    @classmethod
    def from_table(
        cls,
        pre: Any,
        post: Any,
        weight: Any = None,
        *,
        sign: Any = None,
        neurons: NeuronsLike | None = None,
        unlinked: bool = False,
        text_ids: bool = False,
    ) -> Connectome:
        """Make a connectome of columns: arrays, columns of DataFrames or of Arrow tables.

        Pairs that occur several times become one link with the sum of their synapses.

        Args:
            pre: id of the presynaptic neuron of each row: integers below 2^63, or text. Text of
                digits becomes integers.
            post: id of the postsynaptic neuron.
            weight: number of synapses, at least 0; rows of 0 are dropped. By default 1.
            sign: 1, -1, or 0 where unknown; or bool, True for excitatory; or names of transmitters.
                By default unknown.
            neurons: table of neurons with the column ``id``. Rows of other neurons are dropped. By
                default all neurons of ``pre`` and ``post``, in the order of their ids.
            unlinked: whether ``neurons`` may have neurons without links.
            text_ids: whether ids of digits stay text.

        Raises:
            TableError: a value that is not valid; the message names its row and column.

        Example:
            >>> from_table([1, 1, 2], [2, 2, 3], [5, 1, 2]).nnz
            2
        """
        reader = TableReader("the table", neurons, unlinked=unlinked, text_ids=text_ids)
        columns = [None if each is None else as_arrow(each) for each in (pre, post, weight, sign)]
        lengths = [len(each) for each in columns if each is not None]
        if len({*lengths}) > 1:
            raise TableError(f"expected columns of one length, found lengths {lengths}")
        stream = reader.stream("pre", "post", "weight", "sign")
        stream.add(Columns(*columns))
        return reader.finish(stream)

    @property
    def nnz(self) -> int:
        """The number of links."""
        return self.pattern.nnz

    def __len__(self) -> int:
        """Return the number of neurons."""
        return len(self.neurons)

    def __repr__(self) -> str:
        synapses = f"{self.count.sum():,.0f}"
        return f"Connectome({len(self):,} neurons, {self.nnz:,} links, {synapses} synapses)"

    @property
    def pre(self) -> np.ndarray:
        """Number of the presynaptic neuron of each link, int32 ``[nnz]``."""
        return self.pattern.col.numpy()

    @property
    def post(self) -> np.ndarray:
        """Number of the postsynaptic neuron of each link, int64 ``[nnz]``, increasing."""
        return self.pattern.rows().numpy()

    def csr(self) -> csr_array:
        """Return the signed numbers of synapses, float64; an unknown sign counts as excitatory."""
        parts = self._signed(np.float64), self.pre, self.pattern.crow.numpy()
        return csr_array(parts, shape=self.pattern.shape)

    def weight(self, *, dtype: torch.dtype | None = None) -> SparseWeight:
        """Return the signed numbers of synapses as a weight with a frozen pattern.

        An unknown sign counts as excitatory.

        Args:
            dtype: dtype of the values; torch's default dtype by default.
        """
        values = torch.from_numpy(self._signed(np.float64)).to(dtype or torch.get_default_dtype())
        weight = SparseWeight(values, self.pattern)
        weight.frozen_pattern = True
        return weight

    def where(self, neurons: Where) -> np.ndarray:
        """Return a mask of neurons, bool ``[neurons]``.

        Args:
            neurons: a function of the table that returns a mask, a mask, ids, or values by column.

        Raises:
            TableError: a column or an id that the table does not have.
        """
        if callable(neurons):
            neurons = neurons(self.neurons)
        if isinstance(neurons, Mapping):
            mask = np.ones(len(self), bool)
            for name, values in neurons.items():
                listed = [values] if isinstance(values, str | int | bool) else values
                mask &= self.column(name).isin(listed).to_numpy()
            return mask
        given = np.asarray(neurons)
        if given.dtype == bool:
            if given.shape != (len(self),):
                raise TableError(f"expected a mask of [{len(self)}], found {[*given.shape]}")
            return given
        mask = np.zeros(len(self), bool)
        mask[self.numbers(neurons)] = True
        return mask

    def numbers(self, ids: Any) -> np.ndarray:
        """Return the numbers of neurons with these ids, int64; TableError for an unknown id."""
        wanted = pd.Index(ids)
        found = pd.Index(self.neurons["id"]).get_indexer(wanted)
        if (found < 0).any():
            raise TableError(f"expected ids of neurons, found {wanted[int(found.argmin())]}")
        return found

    def column(self, name: str) -> pd.Series:
        """Return a column of the table of neurons; TableError if there is none of this name."""
        if name not in self.neurons:
            raise TableError(
                f"expected a column of the table of neurons, found {name!r}; it has "
                f"{', '.join(map(str, self.neurons))}"
            )
        return self.neurons[name]

    def subset(self, neurons: Where) -> Connectome:
        """Return these neurons and the links between them, see :meth:`where`."""
        mask = self.where(neurons)
        table = self.neurons[mask]
        return Connectome(table, self._select(mask[self.post] & mask[self.pre], mask))

    def threshold(self, least: float) -> Connectome:
        """Return all neurons, and the links of at least so many synapses."""
        return Connectome(self.neurons, self._select(self.count >= least))

    def largest_component(self, *, strong: bool = False) -> Connectome:
        """Return the largest set of neurons that are connected by links, in any direction.

        Args:
            strong: whether each of them must reach each other along the links' directions.
        """
        kind = "strong" if strong else "weak"
        _, labels = connected_components(self.csr(), directed=True, connection=kind)
        if not len(labels):
            return self
        return self.subset(labels == np.bincount(labels).argmax())

    def with_neurons(self, **columns: Any) -> Connectome:
        """Return the connectome with further columns in its table, ``[neurons]`` each."""
        return Connectome(self.neurons.assign(**columns), self._select(...))

    def with_signs(
        self, column: str, signs: Mapping[str, int] = SIGNS, *, other: int = 0
    ) -> Connectome:
        """Return the connectome with the sign of each presynaptic neuron on all its links.

        Args:
            column: column of the table of neurons: transmitters, or signs.
            signs: sign of each transmitter, by its name in lower case. By default acetylcholine is
                1, and GABA, glutamate and histamine are -1, as in the fly.
            other: sign of all other transmitters.

        Raises:
            TableError: a sign that is not 1, -1 or 0.
        """
        values = self.column(column)
        if not pd.api.types.is_numeric_dtype(values):
            lower = values.astype(str).str.strip().str.lower()
            values = lower.map({**signs}).fillna(other)
        wrong = ~values.isin([-1, 0, 1])
        if wrong.any():
            row = int(wrong.to_numpy().argmax())
            raise TableError(
                f"expected signs 1, -1 or 0 in column {column!r}, found {values.iloc[row]} in row "
                f"{row}"
            )
        of_neuron = values.to_numpy(np.int8)
        return Connectome(self.neurons, self._select(...)._replace(sign=of_neuron[self.pre]))

    def neuron_signs(self) -> np.ndarray:
        """Return the sign of all links out of each neuron, int8 ``[neurons]``; 0 where they differ.

        A link of unknown sign counts as excitatory, as in :meth:`weight`.
        """
        signed = np.where(self.sign < 0, -1, 1)
        total = np.bincount(self.pre, signed, len(self))
        out = np.bincount(self.pre, minlength=len(self))
        return np.where(np.abs(total) == out, np.sign(total), 0).astype(np.int8)

    def neuron_table(self, **results: Any) -> pd.DataFrame:
        """Return a table of results by neuron id: ``neuron_table(rate=rates)``, ``[neurons]``."""
        return pd.DataFrame({"id": self.neurons["id"], **_as_columns(results, len(self))})

    def link_table(self, **results: Any) -> pd.DataFrame:
        """Return a table of results by the ids of a link's neurons, ``[nnz]`` each."""
        ids = self.neurons["id"]
        ends = {"pre": ids.take(self.pre), "post": ids.take(self.post)}
        plain = {name: each.reset_index(drop=True) for name, each in ends.items()}
        return pd.DataFrame({**plain, **_as_columns(results, self.nnz)})

    def links(self) -> pd.DataFrame:
        """Return all links as a table ``pre, post, count, sign``, in the order of ``pattern``."""
        return self.link_table(count=self.count, sign=self.sign)

    def network(
        self,
        kind: type[Recurrent],
        *,
        weights: Weights | None = None,
        inputs: Mapping[str, Where] | None = None,
        readouts: Mapping[str, Where] | None = None,
        by: str | None = None,
        tau: float | str | Mapping[Any, float] | None = None,
        bias: float | str | Mapping[Any, float] | None = None,
        checkpoint_every: int | None = None,
        **options: Any,
    ) -> ConnectomeNetwork:
        """Return a network of one unit for each neuron.

        Args:
            kind: the network, such as :class:`~sparse_engine.nn.SparseRateRNN`.
            weights: what is trained: ``Fixed()``, ``TypePairs()``, ``DaleLaw()``,
                ``LowRank(rank)`` or ``Free()``, the default. Strengths are the numbers of synapses
                at first, see :meth:`ConnectomeNetwork.calibrate`.
            inputs: populations that get input of their own, by name, see :meth:`where`; by default
                all neurons, as "neurons".
            readouts: populations whose output is returned, likewise.
            by: column whose values group neurons; those of a group share time constant and bias.
                By default each neuron has its own.
            tau: time constants, in the unit of dt: a number, a column of the table, or a number for
                each group by the name of the group (for each neuron by its id).
            bias: first biases, likewise.
            checkpoint_every: see :class:`ConnectomeNetwork`.
            **options: options of ``kind``, such as ``nonlinearity``, ``dt``, ``trainable_tau`` and
                ``dtype``.

        Raises:
            TableError: a column, an id or a number that the table does not have.
            TypeError: an option that ``kind`` does not have.

        Example:
            >>> brain = Connectome.from_table(["a", "a", "b"], ["b", "c", "c"], [4, 1, 2])
            >>> network = brain.network(SparseRateRNN, weights=DaleLaw(), readouts={"out": ["c"]})
            >>> out, state = network({"neurons": torch.randn(10, 2, 3)})
            >>> out["out"].shape
            torch.Size([10, 2, 1])
        """
        return ConnectomeNetwork(
            self,
            kind,
            weights=weights,
            inputs=inputs,
            readouts=readouts,
            by=by,
            tau=tau,
            bias=bias,
            checkpoint_every=checkpoint_every,
            **options,
        )

    def _signed(self, dtype: type) -> np.ndarray:
        return np.where(self.sign < 0, -1, 1).astype(dtype) * self.count

    def _select(self, keep: Any, neurons: np.ndarray | None = None) -> Synapses:
        """Return some links, between some neurons that are numbered anew."""
        if keep is ...:
            crow, col = self.pattern.crow.numpy(), self.pre
            return Synapses(crow, col, self.count, self.sign)
        rows = np.bincount(self.post[keep], minlength=len(self))
        col = self.pre[keep]
        if neurons is not None:
            rows = rows[neurons]
            col = (np.cumsum(neurons, dtype=np.int32) - 1)[col]
        crow = np.concatenate([[0], np.cumsum(rows)]).astype(np.int64)
        return Synapses(crow, col.astype(np.int32), self.count[keep], self.sign[keep])


class TableReader:
    """Makes a connectome of rows that arrive in pieces, see :meth:`Connectome.from_table`."""

    def __init__(
        self,
        table: str,
        neurons: NeuronsLike | None = None,
        *,
        unlinked: bool = False,
        text_ids: bool = False,
    ) -> None:
        self.table, self.unlinked = table, unlinked
        self.neurons = None if neurons is None else as_frame(neurons)
        ids = None if self.neurons is None else as_arrow(self.neurons["id"])
        self.numbering = Numbering(ids, text=text_ids)

    def stream(self, *names: str) -> LinkStream:
        """Return a stream for rows with columns of these names: pre, post, count, sign."""
        return LinkStream(self.table, names, self.numbering)

    def finish(self, stream: LinkStream) -> Connectome:
        """Return the connectome of all rows that were added."""
        if self.neurons is None:
            links = stream.finish(self.numbering.order())
            return Connectome(pd.DataFrame({"id": self.numbering.index}), links)
        links = stream.finish()
        table = self.neurons.assign(id=self.numbering.index)
        linked = np.diff(links.crow) > 0
        linked[links.col] = True
        if not self.unlinked and not linked.all():
            row = int(linked.argmin())
            raise TableError(
                f"expected a link of each neuron in {self.table}, found none of "
                f"{np.count_nonzero(~linked):,} of {len(table):,}, the first with id "
                f"{table['id'][row]} in row {row} of the table of neurons; pass unlinked=True to "
                "keep them, or leave them out of the table"
            )
        return Connectome(table, links)


def as_frame(neurons: NeuronsLike) -> pd.DataFrame:
    """Return a table of neurons as a DataFrame, or raise TableError for one without ids."""
    frame = neurons.to_pandas() if isinstance(neurons, pa.Table) else pd.DataFrame(neurons)
    if "id" not in frame:
        raise TableError(
            f"expected a column 'id' in the table of neurons, found {', '.join(map(str, frame))}; "
            "rename the column with the ids"
        )
    return frame.reset_index(drop=True)


def read_neurons(path: str | Path, *, id: str = "id") -> pd.DataFrame:
    """Read a table of neurons from a CSV, Feather or Parquet file.

    Args:
        path: path of the file; a CSV may be compressed.
        id: column with the ids, which becomes ``id``. Integers keep all their digits.

    Raises:
        TableError: the column is missing.
        OSError: the file cannot be read.

    Example:
        >>> connectome.neurons.to_csv("neurons.csv", index=False)
        >>> read_neurons("neurons.csv")["type"].tolist()
        ['Mi1', 'Mi1', 'T4a']
    """
    path = Path(path)
    if path.suffix == ".feather":
        frame = pd.read_feather(path)
    elif path.suffix == ".parquet":
        frame = pd.read_parquet(path)
    else:
        frame = pd.read_csv(path)
    if id not in frame:
        raise TableError(
            f"expected a column {id!r} in {path}, found {', '.join(map(str, frame))}; name the "
            "column with the ids (id=)"
        )
    return as_frame(frame.rename(columns={id: "id"}))


def _as_columns(results: Mapping[str, Any], length: int) -> dict[str, np.ndarray]:
    columns = {}
    for name, values in results.items():
        each = values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else values
        each = np.asarray(each)
        if each.shape != (length,):
            raise ValueError(f"expected {name} of shape [{length}], found {[*each.shape]}")
        columns[name] = each
    return columns
