"""Files of connectomes that are no plain tables of links, and the registry of all formats."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import pyarrow as pa
from safetensors import SafetensorError
from safetensors.torch import load_file

from sparse_engine.connectome import writers
from sparse_engine.connectome.arrow import ROWS, read_csv, read_feather, read_parquet
from sparse_engine.connectome.flyvis import read_flyvis
from sparse_engine.connectome.stream import Columns, Synapses
from sparse_engine.connectome.table import Connectome, NeuronsLike, TableReader
from sparse_engine.errors import TableError

#: Bytes that a row of an HDF5 file takes at least, compressed by a thousand.
LEAST_BYTES = 0.016


def read_sonata(
    edges: str | Path,
    *,
    population: str | None = None,
    neurons: NeuronsLike | None = None,
    unlinked: bool = False,
) -> Connectome:
    """Read an edges file of SONATA (Dai et al., PLoS Comput. Biol. 2020), by h5py.

    The numbers of synapses are the dataset ``nsyns`` of edge group 0, or else 1 for each row; the
    signs are the dataset ``sign``, if there is one.

    Args:
        edges: path of the HDF5 file.
        population: name of the population of edges; by default the only one.
        neurons: table of neurons, see :meth:`Connectome.from_table`; ``id`` is the node id.
        unlinked: whether neurons may have no links.

    Raises:
        TableError: not such a file, or one that is cut.

    Example:
        >>> column = read_sonata("edges.h5")
    """
    path = str(edges)
    with _sonata(path) as file:
        populations = file.get("edges")
        names = [] if populations is None else list(populations)
        chosen = names[0] if population is None and len(names) == 1 else population
        if chosen not in names:
            raise TableError(
                f"expected a population of edges in {path}, found {population}; it has "
                f"{', '.join(names) or 'none'} (population=)"
            )
        group = populations[chosen]
        ends = [_dataset(group, f"{side}_node_id", path) for side in ("source", "target")]
        others = [group.get(f"0/{name}") for name in ("nsyns", "sign")]
        rows = {len(each) for each in (*ends, *others) if each is not None}
        if len(rows) > 1:
            raise TableError(f"expected datasets of one length in {path}, found {sorted(rows)}")
        reader = TableReader(path, neurons, unlinked=unlinked)
        stream = reader.stream("source_node_id", "target_node_id", "nsyns", "sign")
        for first in range(0, len(ends[0]), ROWS):
            part = slice(first, first + ROWS)
            read = [None if each is None else pa.array(each[part]) for each in (*ends, *others)]
            stream.add(Columns(*read))
        return reader.finish(stream)


def read_worm(
    wheel: str | Path, *, dataset: str = "Varshney", synapses: str = "Generic_CS"
) -> Connectome:
    """Read a connectome of C. elegans from the wheel of ``cect``, the ConnectomeToolbox.

    Args:
        wheel: path of the wheel, as ``pip download --no-deps cect`` fetches it.
        dataset: whose data: "Varshney", "Cook2019Herm", "Witvliet8", "White_whole", ...
        synapses: "Generic_CS" for chemical synapses, "Generic_GJ" for gap junctions.

    Raises:
        TableError: the wheel has no such data.

    Example:
        >>> worm = read_worm("cect.whl", dataset="Witvliet8")
    """
    stems = {f"{dataset}DataReader", f"{dataset}Reader", dataset}
    if dataset[-1:].isdigit():
        stems.add(f"{dataset[:-1]}DataReader{dataset[-1]}")
    try:
        with zipfile.ZipFile(wheel) as archive:
            cached = {Path(name).stem: name for name in archive.namelist() if "/cache/" in name}
            found = stems & cached.keys()
            if not found:
                raise TableError(
                    f"expected a dataset of {wheel}, found {dataset!r}; it has "
                    f"{', '.join(sorted(cached))} (dataset=)"
                )
            content = json.loads(archive.read(cached[found.pop()]))
    except (zipfile.BadZipFile, json.JSONDecodeError) as error:
        raise TableError(f"expected a whole wheel in {wheel}, found: {error}") from error
    if synapses not in content["connections"]:
        kinds = ", ".join(content["connections"])
        raise TableError(f"expected synapses={synapses!r} in {wheel}, found {kinds}")
    matrix = np.array(content["connections"][synapses], dtype=float)
    source, target = matrix.nonzero()
    names = np.array(content["nodes"], dtype=object)
    return Connectome.from_table(
        names[source], names[target], matrix[source, target],
        neurons={"id": content["nodes"]}, unlinked=True, text_ids=True,
    )  # fmt: skip


def read_safetensors(path: str | Path) -> Connectome:
    """Read a file of this package: CSR, numbers of synapses, signs, and the table of neurons.

    Raises:
        TableError: not such a file, or one that is cut.

    Example:
        >>> write(connectome, "brain.safetensors")
        >>> read_safetensors("brain.safetensors").nnz
        3
    """
    try:
        saved = load_file(path)
        links = Synapses(*(saved[name].numpy() for name in writers.CSR))
        with pa.ipc.open_file(pa.BufferReader(saved["neurons"].numpy())) as file:
            neurons = file.read_all().to_pandas()
        connectome = Connectome(neurons, links)
    except (SafetensorError, KeyError, ValueError, pa.ArrowException) as error:
        raise TableError(
            f"expected a connectome of this package in {path}, found: {error}; if the file is cut, "
            "get it again"
        ) from error
    if "id" not in neurons or not (links.synapses > 0).all() or not (np.abs(links.sign) < 2).all():
        raise TableError(f"expected ids, counts above 0 and signs of -1, 0 and 1 in {path}")
    return connectome


class Format(NamedTuple):
    """How files of a suffix are read and written; None for formats that are only read."""

    read: Callable[..., Connectome]
    write: Callable[[Connectome, Path], None] | None


#: Formats by suffix.
FORMATS: dict[str, Format] = {
    ".csv": Format(read_csv, writers.write_csv),
    ".csv.gz": Format(read_csv, writers.write_csv),
    ".tar.gz": Format(read_csv, writers.write_tar),
    ".txt": Format(read_csv, writers.write_edges),
    ".feather": Format(read_feather, writers.write_feather),
    ".parquet": Format(read_parquet, writers.write_parquet),
    ".h5": Format(read_sonata, writers.write_sonata),
    ".safetensors": Format(read_safetensors, writers.write_safetensors),
    ".json": Format(read_flyvis, None),
    ".whl": Format(read_worm, None),
}


def read(path: str | Path, **options: Any) -> Connectome:
    """Read a connectome from a file of any known format, by its suffix.

    ``.csv``, ``.csv.gz``, ``.tar.gz`` and ``.txt`` are read by :func:`read_csv`, ``.feather`` by
    :func:`read_feather`, ``.parquet`` by :func:`read_parquet`, ``.h5`` by :func:`read_sonata`,
    ``.safetensors`` by :func:`read_safetensors`, ``.json`` by :func:`read_flyvis` and ``.whl`` by
    :func:`read_worm`, with their options.

    Raises:
        ValueError: another suffix.
        TableError: the file is not valid.
        OSError: the file cannot be read.

    Example:
        >>> write(connectome, "brain.safetensors")
        >>> read("brain.safetensors").nnz
        3
    """
    return _format(Path(path)).read(path, **options)


def write(connectome: Connectome, path: str | Path) -> None:
    """Write a connectome atomically, in the format of the suffix, see :func:`read`.

    Tables of links have the columns ``pre, post, count, sign`` and not the table of neurons;
    ``.safetensors`` has both. ``.txt`` has the sign on the count.

    Raises:
        ValueError: a suffix of which no files are written, see :data:`FORMATS`.
        OSError: the file cannot be written.

    Example:
        >>> write(connectome, "brain.safetensors")
    """
    path = Path(path)
    writer = _format(path).write
    if writer is None:
        written = ", ".join(name for name, each in FORMATS.items() if each.write is not None)
        raise ValueError(f"expected a path that ends in one of {written}, found {path}")
    writer(connectome, path)


def _format(path: Path) -> Format:
    for suffix in ("".join(path.suffixes[-2:]), path.suffix):
        if suffix in FORMATS:
            return FORMATS[suffix]
    raise ValueError(f"expected a path that ends in one of {', '.join(FORMATS)}, found {path}")


@contextmanager
def _sonata(path: str) -> Iterator[Any]:
    try:
        with h5py.File(path) as file:
            yield file
    except FileNotFoundError:
        raise
    except OSError as error:
        raise TableError(
            f"expected a whole HDF5 file in {path}, found: {error}; if it is cut, get it again"
        ) from error


def _dataset(group: Any, name: str, path: str) -> Any:
    if name not in group:
        raise TableError(f"expected a dataset {name!r} in {path}, found {', '.join(group)}")
    found = group[name]
    stored = found.id.get_storage_size()
    if len(found) * LEAST_BYTES > max(stored, ROWS * LEAST_BYTES):
        raise TableError(
            f"expected {len(found):,} rows in the dataset {name!r} of {path}, found {stored:,} "
            "bytes; get the file again"
        )
    return found
