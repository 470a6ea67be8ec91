"""Writes connectomes: tables of links, SONATA, and the format of this package."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet
import torch
from safetensors.torch import save_file

from sparse_engine.connectome.table import Connectome
from sparse_engine.files import replacing

#: Tensors of the links in a safetensors file, in the order of ``Synapses``.
CSR = ("crow_indices", "col_indices", "count", "sign")


def write_csv(connectome: Connectome, path: Path) -> None:
    """Write ``pre,post,count,sign`` with that header, compressed where the suffix is ``.gz``."""
    with _replacing_open(path, "gzip" if path.suffix == ".gz" else None) as file:
        pa.csv.write_csv(_table(connectome), file)


def write_edges(connectome: Connectome, path: Path) -> None:
    """Write lines ``pre post count``, the sign on the count."""
    signed = np.where(connectome.sign < 0, -1, 1) * connectome.count
    table = pa.Table.from_pandas(connectome.link_table(count=signed), preserve_index=False)
    options = pa.csv.WriteOptions(include_header=False, delimiter=" ", quoting_style="none")
    with _replacing_open(path) as file:
        pa.csv.write_csv(table, file, options)


def write_tar(connectome: Connectome, path: Path) -> None:
    """Write a CSV with the columns of the hemibrain inside a tar archive; it has no signs."""
    table = _table(connectome).drop_columns("sign")
    table = table.rename_columns(["bodyId_pre", "bodyId_post", "weight"])
    member = path.with_name(f".{path.name}.csv")
    try:
        pa.csv.write_csv(table, member)
        with replacing(path) as partial, tarfile.open(partial, "w:gz") as archive:
            archive.add(member, "links.csv")
    finally:
        member.unlink(missing_ok=True)


def write_feather(connectome: Connectome, path: Path) -> None:
    """Write ``pre, post, count, sign``."""
    with _replacing_open(path) as file:
        pa.feather.write_feather(_table(connectome), file)


def write_parquet(connectome: Connectome, path: Path) -> None:
    """Write ``pre, post, count, sign``."""
    with _replacing_open(path) as file:
        pa.parquet.write_table(_table(connectome), file)


def write_sonata(connectome: Connectome, path: Path) -> None:
    """Write an edges file with one population; ids have to be integers from 0 on."""
    ids = connectome.neurons["id"].to_numpy()
    if ids.dtype.kind not in "iu" or (len(ids) and ids.min() < 0):
        raise ValueError(f"expected ids that are integers from 0 on, found {ids.dtype}")
    with replacing(path) as partial, h5py.File(partial, "w") as file:
        edges = file.create_group("edges/links")
        for side, of_link in (("source", connectome.pre), ("target", connectome.post)):
            data = edges.create_dataset(f"{side}_node_id", data=ids[of_link].astype(np.uint64))
            data.attrs["node_population"] = "neurons"
        size = connectome.nnz
        edges.create_dataset("edge_type_id", data=np.zeros(size, np.int64), compression="gzip")
        edges.create_dataset("edge_group_id", data=np.zeros(size, np.int64), compression="gzip")
        edges.create_dataset("edge_group_index", data=np.arange(size))
        edges.create_dataset("0/nsyns", data=connectome.count)
        edges.create_dataset("0/sign", data=connectome.sign)


def write_safetensors(connectome: Connectome, path: Path) -> None:
    """Write CSR, counts and signs as tensors, and the table of neurons as Arrow's file format."""
    table = pa.Table.from_pandas(connectome.neurons, preserve_index=False)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as file:
        file.write_table(table)
    links = connectome.pattern.crow, connectome.pattern.col, connectome.count, connectome.sign
    tensors = {name: torch.as_tensor(each) for name, each in zip(CSR, links, strict=True)}
    tensors["neurons"] = torch.from_numpy(np.frombuffer(sink.getvalue(), np.uint8).copy())
    with replacing(path) as partial:
        save_file(tensors, partial, {"format": "sparse_engine.connectome"})


def _table(connectome: Connectome) -> pa.Table:
    return pa.Table.from_pandas(connectome.links(), preserve_index=False)


@contextmanager
def _replacing_open(path: Path, compression: str | None = None) -> Iterator[Any]:
    with replacing(path) as partial, pa.output_stream(str(partial), compression=compression) as out:
        yield out
