"""Files of connectomes: each source's columns are recognised, and each format comes back."""

import gzip
import io
import json
import tarfile
import zipfile

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest

from sparse_engine import connectome
from sparse_engine.connectome import SOURCES, from_table, read, read_csv, read_parquet, write

A, B, C = (720575940590000000 + each for each in (1, 2, 3))


@pytest.fixture
def brain():
    rng = np.random.default_rng(0)
    ids = A + np.arange(30)
    pre, post = ids[rng.integers(30, size=(2, 200))]
    sign = np.where(pre % 3 == 0, -1, 1)
    return from_table(pre, post, rng.integers(1, 9, 200), sign=sign)


def write_text(path, text):
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


@pytest.mark.parametrize(
    "suffix", [each for each, way in connectome.FORMATS.items() if way.write is not None]
)
def test_each_format_comes_back(suffix, brain, tmp_path):
    path = tmp_path / f"brain{suffix}"
    write(brain, path)
    again = read(path)
    expected = brain.links()
    if suffix == ".tar.gz":
        expected["sign"] = np.int8(0)
    pd.testing.assert_frame_equal(again.links(), expected)
    assert [*tmp_path.iterdir()] == [path]


def test_safetensors_has_the_table_of_neurons(brain, tmp_path):
    named = brain.with_neurons(type=["T4a", None, "ü"] * 10, u=np.arange(30.0))
    write(named, tmp_path / "brain.safetensors")
    pd.testing.assert_frame_equal(read(tmp_path / "brain.safetensors").neurons, named.neurons)


@pytest.mark.parametrize("source", [each for each in SOURCES if each.row is None])
def test_the_columns_of_each_source_are_recognised(source, tmp_path):
    columns = {"other": [1.5, 2.5, 3.5], source.post: [B, B, C], source.pre: [A, A, B]}
    if source.count is not None:
        columns[source.count] = [2, 3, 4]
    if source.sign is not None:
        columns[source.sign] = ["ACH", "ACH", "GABA"] if "nt" in source.sign else [1, 1, -1]
    expected = [2 + 3, 4] if source.count is not None else [2, 1]
    for suffix in (".csv.gz", ".parquet", ".feather"):
        path = tmp_path / f"links{suffix}"
        table = pa.table(columns)
        if suffix == ".parquet":
            pa.parquet.write_table(table, path)
        elif suffix == ".feather":
            pa.feather.write_feather(table, path)
        else:
            write_text(path, pd.DataFrame(columns).to_csv(index=False))
        found = read(path)
        assert found.neurons["id"].tolist() == [A, B, C]
        assert found.links()["count"].tolist() == expected
        if source.sign is not None:
            assert found.sign.tolist() == [1, -1]


def test_one_release_of_flywire_has_no_header(tmp_path):
    path = write_text(tmp_path / "c.csv.gz", f"{A},{B},ME_L,5,ACH\n{A},{B},LO_R,2,ACH\n")
    assert read_csv(path).links().to_dict("list") == {
        "pre": [A], "post": [B], "count": [7], "sign": [0]
    }  # fmt: skip


@pytest.mark.parametrize("separator", [" ", "\t", ","])
def test_edge_lists_without_a_header(separator, tmp_path):
    lines = [["29", "8419602", "9.0"], ["29", "29", "-1.0"]]
    path = write_text(tmp_path / "e.txt", "".join(separator.join(each) + "\n" for each in lines))
    links = read(path).links()
    assert links["count"].tolist() == [1, 9]
    assert links["sign"].tolist() == [-1, 1]


def test_named_columns_win(tmp_path):
    path = write_text(tmp_path / "e.csv", "from,to,n,s\na,b,3,-1\nc,b,4,1\n")
    brain = read_csv(path, pre="from", post="to", count="n", sign="s")
    assert brain.weight().values.tolist() == [-3, 4]
    assert read_csv(path, pre="to", post="from").count.tolist() == [1, 1]


def test_neurons_that_are_listed_are_kept_while_reading(tmp_path, monkeypatch):
    """Ids of all other rows are never collected."""
    monkeypatch.setattr("sparse_engine.connectome.arrow.ROWS", 100)
    rng = np.random.default_rng(0)
    pre, post = rng.integers(10_000, size=(2, 5000))
    table = pa.table({"body_pre": pre, "body_post": post, "weight": np.ones(5000, int)})
    pa.feather.write_feather(table, tmp_path / "links.feather", chunksize=50)
    wanted = np.arange(1000)[::-1]
    brain = read(tmp_path / "links.feather", neurons={"id": wanted}, unlinked=True)
    assert brain.neurons["id"].tolist() == wanted.tolist()
    assert brain.count.sum() == ((pre < 1000) & (post < 1000)).sum() > 0


def test_a_csv_inside_a_tar(tmp_path):
    """The table of single regions has the same columns, and one more."""
    texts = {
        "neurons.csv": "bodyId,type\n1,a\n",
        "roi.csv": "bodyId_pre,bodyId_post,roi,weight\n1,2,LO,1\n1,2,ME,1\n",
        "total.csv": "bodyId_pre,bodyId_post,weight\n1,2,7\n",
    }
    with tarfile.open(tmp_path / "exported.tar.gz", "w:gz") as archive:
        for name, text in texts.items():
            member = tarfile.TarInfo(f"exported/{name}")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    assert read(tmp_path / "exported.tar.gz").count.tolist() == [7]


def test_text_ids(tmp_path):
    table = pa.table({"pre": ["10", "9"], "post": ["9", "10"], "count": [1, 2]})
    pa.parquet.write_table(table, tmp_path / "l.parquet")
    assert read_parquet(tmp_path / "l.parquet").neurons["id"].tolist() == [9, 10]
    as_text = read_parquet(tmp_path / "l.parquet", text_ids=True)
    assert as_text.neurons["id"].tolist() == ["10", "9"]


def test_neurons_from_files(tmp_path):
    (tmp_path / "n.csv").write_text(f"root_id,nt\n{A},ACH\n{B},GABA\n")
    table = connectome.read_neurons(tmp_path / "n.csv", id="root_id")
    assert table["id"].tolist() == [A, B]
    brain = from_table([A, B], [B, A], neurons=table).with_signs("nt")
    assert brain.sign.tolist() == [-1, 1]


def test_the_worm_of_a_wheel(tmp_path):
    content = {"nodes": ["ADAL", "B"], "connections": {"Generic_CS": [[0, 3], [0, 1]]}}
    with zipfile.ZipFile(tmp_path / "cect-1.whl", "w") as wheel:
        wheel.writestr("cect/cache/VarshneyDataReader.json", json.dumps(content))
    worm = read(tmp_path / "cect-1.whl")
    assert worm.links().to_dict("list")["pre"] == ["ADAL", "B"]
    assert worm.count.tolist() == [3, 1]
    with pytest.raises(connectome.TableError, match="it has VarshneyDataReader"):
        connectome.read_worm(tmp_path / "cect-1.whl", dataset="Cook")


def test_the_lattice_of_flyvis(tmp_path):
    """A literal loop over all neurons, and offsets inside the hull that are filled."""
    ring = [[[du, dv], 2.5] for du, dv in [(-1, 0), (1, 0), (0, 1), (0, -1), (1, -1), (-1, 1)]]
    spec = {
        "nodes": [{"name": "A", "pattern": ["stride", [1, 1]]},
                  {"name": "B", "pattern": ["stride", [2, 1]]},
                  {"name": "S", "pattern": ["single", None]}],
        "edges": [{"src": "A", "tar": "B", "alpha": -1, "offsets": ring},
                  {"src": "S", "tar": "A", "alpha": 1, "offsets": [[[1, 0], 3]]}],
        "input_units": ["A"], "output_units": ["B"],
    }  # fmt: skip
    (tmp_path / "f.json").write_text(json.dumps(spec))
    lobe = connectome.read_flyvis(tmp_path / "f.json", extent=2)
    table = lobe.neurons
    assert table["type"].value_counts().to_dict() == {"A": 19, "B": 11, "S": 1}
    expected = {}
    for a in table[table["type"] == "A"].itertuples():
        for b in table[table["type"] == "B"].itertuples():
            du, dv = b.u - a.u, b.v - a.v
            if max(abs(du), abs(dv), abs(du + dv)) <= 1:
                expected[a.id, b.id] = 1.0 if du == dv == 0 else 2.5
    links = lobe.links().query("sign < 0")
    found = zip(links["pre"], links["post"], strict=True)
    assert dict(zip(found, links["count"], strict=True)) == expected
    assert lobe.links().query("sign > 0")["count"].tolist() == [3]
    assert table["input"].sum() == 19
