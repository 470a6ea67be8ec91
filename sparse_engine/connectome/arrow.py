"""Tables of links in CSV, Feather and Parquet files, read in pieces."""

from __future__ import annotations

import tarfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.ipc
import pyarrow.parquet
from tqdm.auto import tqdm

from sparse_engine.connectome.sources import Source, recognise, recognise_row
from sparse_engine.connectome.stream import Columns
from sparse_engine.connectome.table import Connectome, NeuronsLike, TableReader
from sparse_engine.errors import TableError

#: Rows that are numbered at a time.
ROWS = 2**20
#: Bytes of a CSV that are parsed at a time, and of which types are taken.
BLOCK = 2**24


class LinkTable(ABC):
    """Rows of a file, in batches of Arrow.

    Attributes:
        names: names of all columns.
        rows: number of rows, for the progress bar; None where the file does not tell.
        source: the source of a file without a header.
    """

    names: list[str]
    rows: int | None = None
    source: Source | None = None

    def __init__(self, path: Path) -> None:
        self.path = path

    @abstractmethod
    def batches(self, source: Source) -> Iterator[Any]:
        """Yield tables or batches with the columns of a source."""


class CsvTable(LinkTable):
    """CSV with commas, tabs or spaces, compressed or not; with or without a header."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        with self.open() as file:
            start = file.read(2**16).partition(b"\n")[0].decode("utf-8-sig", "replace").strip("\r")
        if not start.strip():
            raise TableError(f"expected a table of links in {path}, found it empty")
        self.delimiter = next((each for each in ",\t " if each in start), ",")
        fields = [each.strip().strip('"') for each in start.split(self.delimiter)]
        found = recognise_row(fields)
        self.source, self.names = (None, fields) if found is None else found

    def open(self) -> Any:
        """Open the text."""
        return pa.input_stream(str(self.path), compression="detect")

    def batches(self, source: Source) -> Iterator[Any]:
        """Yield batches: ids as text, which keeps all digits."""
        text = pa.dictionary(pa.int32(), pa.string())
        types = {source.pre: text, source.post: text}
        if source.count is not None:
            types[source.count] = pa.float64()
        read = pa.csv.ReadOptions(
            block_size=BLOCK, column_names=self.names, skip_rows=int(self.source is None)
        )
        convert = pa.csv.ConvertOptions(column_types=types, include_columns=source.columns)
        parse = pa.csv.ParseOptions(delimiter=self.delimiter)
        with self.open() as file:
            yield from pa.csv.open_csv(file, read, parse, convert)


class TarTable(CsvTable):
    """CSV inside a tar archive, such as that of the hemibrain.

    Of several members, it is that with columns of a known source and the fewest others.
    """

    def __init__(self, path: Path) -> None:
        found = []
        with tarfile.open(path) as archive:
            members = [each for each in archive if each.isfile() and ".csv" in each.name]
        for self.member in members:
            super().__init__(path)
            try:
                source = self.source or recognise(self.names, str(path))
            except TableError:
                continue
            found.append((len(self.names) - len(source.columns), self.member.name, self.member))
        if not found:
            names = ", ".join(each.name for each in members) or "none"
            raise TableError(
                f"expected a CSV with columns of a known source in {path}, found the CSVs {names}; "
                "unpack it and name the columns (pre=, post=, count=)"
            )
        self.member = min(found)[2]
        super().__init__(path)

    def open(self) -> Any:
        """Open the member."""
        archive = tarfile.open(self.path)  # noqa: SIM115 - closed with the member
        return pa.PythonFile(archive.extractfile(self.member), mode="r")


class FeatherTable(LinkTable):
    """Feather, version 2: Arrow's own file format."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        with pa.memory_map(str(path)) as file:
            self.names = pa.ipc.open_file(file).schema.names

    def batches(self, source: Source) -> Iterator[Any]:
        """Yield tables of about ``ROWS`` rows."""
        kept = [self.names.index(each) for each in source.columns]
        options = pa.ipc.IpcReadOptions(included_fields=kept)
        waiting: list[Any] = []
        with pa.memory_map(str(self.path)) as file:
            reader = pa.ipc.open_file(file, options=options)
            for place in range(reader.num_record_batches):
                waiting.append(reader.get_batch(place))
                if sum(map(len, waiting)) >= ROWS:
                    yield pa.Table.from_batches(waiting)
                    waiting = []
            if waiting:
                yield pa.Table.from_batches(waiting)


class ParquetTable(LinkTable):
    """Parquet."""

    @cached_property
    def names(self) -> list[str]:  # type: ignore[override]
        """The names of the columns."""
        return pa.parquet.read_schema(self.path).names

    def batches(self, source: Source) -> Iterator[Any]:
        """Yield batches."""
        with pa.parquet.ParquetFile(self.path) as file:
            self.rows = file.metadata.num_rows
            yield from file.iter_batches(ROWS, columns=source.columns)


def read_csv(path: str | Path, **options: Any) -> Connectome:
    """Read a CSV, compressed or inside a tar archive: commas, tabs or spaces, a header or none.

    Args:
        path: path of the file.
        **options: see :func:`read_parquet`.

    Example:
        >>> write(connectome, "links.csv")
        >>> read_csv("links.csv").nnz
        3
    """
    path = Path(path)
    with naming_table(path):
        table = TarTable(path) if tarfile.is_tarfile(path) else CsvTable(path)
    return read_table(table, **options)


def read_feather(path: str | Path, **options: Any) -> Connectome:
    """Read a Feather file; see :func:`read_parquet`.

    Example:
        >>> brain = read_feather("links.feather", pre="pre_pt_root_id", post="post_pt_root_id")
    """
    with naming_table(Path(path)):
        table = FeatherTable(Path(path))
    return read_table(table, **options)


def read_parquet(path: str | Path, **options: Any) -> Connectome:
    """Read a Parquet file in pieces, so that only the links take memory.

    Args:
        path: path of the file.
        **options: ``pre``, ``post``, ``count`` and ``sign`` name columns; by default they are those
            of a known source. ``neurons``, ``unlinked`` and ``text_ids`` are those of
            :meth:`Connectome.from_table`: with ``neurons``, rows of other neurons are dropped while
            reading. ``progress=False`` shows no progress bar.

    Raises:
        TableError: missing columns, a value that is not valid, or a file that is cut; the message
            names the file, the row and the column.
        OSError: the file cannot be read.

    Example:
        >>> brain = read_parquet("connections.parquet", neurons=read_neurons("neurons.csv"))
    """
    with naming_table(Path(path)):
        table = ParquetTable(Path(path))
        assert table.names is not None
    return read_table(table, **options)


def read_table(
    table: LinkTable,
    *,
    neurons: NeuronsLike | None = None,
    unlinked: bool = False,
    text_ids: bool = False,
    progress: bool = True,
    **named: str | None,
) -> Connectome:
    """Read a connectome of a table; see :func:`read_parquet`."""
    name, source = str(table.path), table.source
    if source is None or named:
        source = recognise(table.names, name, **named)
    reader = TableReader(name, neurons, unlinked=unlinked, text_ids=text_ids)
    stream = reader.stream(source.pre, source.post, source.count or "", source.sign or "")
    bar: Any = tqdm(
        unit="row", unit_scale=True, leave=False, delay=1, disable=None if progress else True
    )
    with bar, naming_table(table.path):
        for batch in table.batches(source):
            bar.total = table.rows
            stream.add(_columns(batch, source))
            bar.update(len(batch))
    return reader.finish(stream)


@contextmanager
def naming_table(path: Path) -> Iterator[None]:
    """Raise TableError that names the file for what Arrow says of one that is not whole."""
    try:
        yield
    except (pa.ArrowException, tarfile.TarError, EOFError) as error:
        raise TableError(
            f"expected a whole and valid table in {path}, found: {error}; if the file is cut, get "
            "it again"
        ) from error
    except OSError as error:
        if error.errno is not None:
            raise
        raise TableError(
            f"expected a whole and valid table in {path}, found: {error}; if the file is cut, get "
            "it again"
        ) from error


def _columns(batch: Any, source: Source) -> Columns:
    columns = [
        None if name is None else batch.column(name)
        for name in (source.pre, source.post, source.count, source.sign)
    ]
    for place, each in enumerate(columns):
        if isinstance(each, pa.ChunkedArray):
            columns[place] = each.combine_chunks()
    pre, post, count, sign = columns
    if source.signed and count is not None:
        sign, count = pc.sign(count), pc.abs(count)
    return Columns(pre, post, count, sign)
