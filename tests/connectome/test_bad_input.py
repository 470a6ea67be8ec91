"""Input that is wrong: an error that names the file, the row and the column, and what to do."""

import re
import tarfile

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest

from sparse_engine.connectome import TableError, from_table, read, read_csv, write

WRONG = {
    "float ids": (dict(pre=[1.0], post=[2]), "'pre'.*row 0.*read it as int64"),
    "missing id": (dict(pre=pa.array([1, None]), post=[2, 3]), "'pre'.*none in row 1"),
    "beyond 2^63": (
        dict(pre=[1, 2], post=np.array([3, 2**63], np.uint64)), "2\\^63.*'post'.*row 1",
    ),
    "text beyond 2^63": (dict(pre=["1", str(2**63)], post=["1", "2"]), "2\\^63.*row 1.*text_ids"),
    "mixed in a column": (dict(pre=["1", "x"], post=["1", "2"]), "integers.*'x' in row 1"),
    "mixed in two": (dict(pre=["1"], post=["x"]), "integers.*'post'.*'x' in row 0"),
    "negative": (dict(pre=[1, 1], post=[2, 3], weight=[1, -2]), "at least 0.*-2 in row 1.*sign="),
    "nan": (dict(pre=[1], post=[2], weight=[np.nan]), "at least 0.*nan in row 0"),
    "infinite": (dict(pre=[1], post=[2], weight=[np.inf]), "found inf in row 0"),
    "no number": (dict(pre=[1], post=[2], weight=["3"]), "numbers of synapses.*'weight'"),
    "no count": (dict(pre=[1], post=[2], weight=pa.array([None], pa.int64())), "none in row 0"),
    "sign of none": (
        dict(pre=[1, 1], post=[2, 3], weight=[1, 0], sign=[1, -1]), "'sign'.*row 1.*count is 0",
    ),
    "sign 2": (dict(pre=[1], post=[2], sign=[2]), "signs 1, -1, or 0.*found 2 in row 0"),
    "two signs": (
        dict(pre=[1, 1, 1], post=[2, 2, 3], sign=[1, -1, 1]), "one sign.*from neuron 1 to 2",
    ),
    "lengths": (dict(pre=[1], post=[2, 3]), "one length.*\\[1, 2\\]"),
    "unlinked": (
        dict(pre=[1], post=[2], neurons={"id": [1, 2, 7]}), "id 7 in row 2.*unlinked=True",
    ),
    "twice": (dict(pre=[1], post=[2], neurons={"id": [1, 2, 1]}), "ids once.*1 in row 2"),
    "no ids": (dict(pre=[1], post=[2], neurons={"root": [1]}), "column 'id'.*found root"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_columns(name):
    arguments, message = WRONG[name]
    with pytest.raises(TableError, match=message):
        from_table(**arguments)


def test_unlisted_columns_and_ids():
    brain = from_table([1], [2], neurons={"id": [1, 2], "type": ["a", "b"]})
    for call in (lambda: brain.subset({"kind": "a"}), lambda: brain.with_signs("kind")):
        with pytest.raises(TableError, match=r"found 'kind'; it has id, type"):
            call()
    with pytest.raises(TableError, match="ids of neurons, found 5"):
        brain.subset([1, 5])
    with pytest.raises(TableError, match=r"mask of \[2\], found \[1\]"):
        brain.subset(np.array([True]))


def test_missing_columns(tmp_path):
    path = tmp_path / "l.csv"
    path.write_text("from,to,n\n1,2,3\n")
    with pytest.raises(TableError, match=f"{path}.*found from, to, n.*pre=.*FlyWire Codex: pre_r"):
        read(path)
    with pytest.raises(TableError, match=f"column 'too' in {path}"):
        read_csv(path, pre="from", post="too")


def test_rows_of_files_are_counted_over_all_batches(tmp_path, monkeypatch):
    monkeypatch.setattr("sparse_engine.connectome.arrow.ROWS", 10)
    count = np.ones(100, int)
    count[77] = -1
    table = pa.table({"pre": np.arange(100), "post": np.arange(100), "count": count})
    pa.parquet.write_table(table, tmp_path / "l.parquet")
    with pytest.raises(TableError, match=r"'count' of .*l\.parquet, found -1 in row 77"):
        read(tmp_path / "l.parquet")


def test_no_number_in_a_csv(tmp_path):
    (tmp_path / "l.csv").write_text("pre,post,count\n1,2,3\n1,3,many\n")
    with pytest.raises(TableError, match=r"l\.csv.*many"):
        read(tmp_path / "l.csv")
    (tmp_path / "l.csv").write_text("pre,post,count\n1,2,3\n1,3\n")
    with pytest.raises(TableError, match=r"l\.csv.*Expected 3 columns, got 2"):
        read(tmp_path / "l.csv")
    (tmp_path / "l.csv").write_text("")
    with pytest.raises(TableError, match="empty"):
        read(tmp_path / "l.csv")


@pytest.mark.parametrize(
    "suffix", [".csv.gz", ".tar.gz", ".parquet", ".feather", ".h5", ".safetensors"]
)
def test_a_file_cut_in_half(suffix, tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / f"l{suffix}"
    write(from_table(*rng.integers(1000, size=(2, 5000)), rng.integers(1, 9, 5000)), path)
    content = path.read_bytes()
    for share in (0.5, 0.9):
        path.write_bytes(content[: int(share * len(content))])
        with pytest.raises(TableError, match=f"{re.escape(str(path))}.*again"):
            read(path)


def test_rows_that_a_header_promises(tmp_path):
    path = tmp_path / "l.h5"
    with h5py.File(path, "w") as file:
        for side in ("source", "target"):
            file.create_dataset(f"edges/e/{side}_node_id", (10**9,), np.uint64, chunks=True)
    with pytest.raises(TableError, match=r"1,000,000,000 rows.*found 0 bytes"):
        read(path)


def test_other_files(tmp_path):
    with pytest.raises(ValueError, match=r"ends in one of \.csv"):
        read(tmp_path / "l.xlsx")
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "l.parquet")
    for name in ("l.json", "l.whl", "l.h5", "l.feather"):
        (tmp_path / name).write_text("{}")
        with pytest.raises(TableError, match=name):
            read(tmp_path / name)
    with tarfile.open(tmp_path / "l.tar.gz", "w:gz"):
        pass
    with pytest.raises(TableError, match=r"l\.tar\.gz.*none"):
        read(tmp_path / "l.tar.gz")


def test_safetensors_of_other_links(tmp_path):
    brain = from_table([1, 2], [2, 1])
    brain.count[0] = 0
    write(brain, tmp_path / "l.safetensors")
    with pytest.raises(TableError, match="counts above 0"):
        read(tmp_path / "l.safetensors")
    with h5py.File(tmp_path / "n.h5", "w") as file:
        file.create_group("edges/a")
        file.create_group("edges/b")
    with pytest.raises(TableError, match="it has a, b"):
        read(tmp_path / "n.h5")


def test_ids_that_sonata_does_not_have(tmp_path):
    with pytest.raises(ValueError, match="integers from 0 on"):
        write(from_table(["a"], ["b"]), tmp_path / "l.h5")
