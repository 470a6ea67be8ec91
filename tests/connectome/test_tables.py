"""Connectomes made of columns, their parts, and results by id, against pandas."""

import networkx as nx
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

from sparse_engine.connectome import Connectome, from_table

FIRST = 720575940590000001  # a float cannot hold it


@pytest.fixture
def rows():
    """Rows with duplicates of 40 neurons whose ids differ in the last digits."""
    rng = np.random.default_rng(0)
    ids = FIRST + rng.permutation(40)
    pre, post = ids[rng.integers(40, size=(2, 600))]
    return pd.DataFrame({"pre": pre, "post": post, "count": rng.integers(1, 6, 600)})


def summed(rows):
    return rows.groupby(["post", "pre"], as_index=False)["count"].sum()


def test_pairs_are_summed_and_sorted_by_post_and_pre(rows):
    links = from_table(rows["pre"], rows["post"], rows["count"]).links()
    expected = summed(rows)
    for name in ("pre", "post", "count"):
        assert links[name].tolist() == expected[name].tolist()
    assert links["pre"].dtype == np.int64
    assert links["count"].dtype == np.int32
    assert (links["sign"] == 0).all()


@pytest.mark.parametrize(
    "kind",
    [np.asarray, list, pa.array, pd.Series, lambda x: torch.tensor(x.to_numpy()),
     lambda x: pa.chunked_array([x[:7].to_numpy(), x[7:].to_numpy()]),
     lambda x: x.astype(str), lambda x: x.astype("uint64")],
)  # fmt: skip
def test_all_kinds_of_columns_keep_all_digits(rows, kind):
    columns = (kind(rows[name]) for name in ("pre", "post", "count"))
    pre, post, count = columns
    if isinstance(count, pd.Series):
        count = count.astype(int)
    brain = from_table(pre, post, count)
    assert brain.neurons["id"].tolist() == sorted({*rows["pre"], *rows["post"]})
    assert brain.links()["count"].tolist() == summed(rows)["count"].tolist()


def test_the_order_of_rows_does_not_matter(rows):
    again = rows.sample(frac=1, random_state=1)
    one, two = (from_table(each["pre"], each["post"], each["count"]) for each in (rows, again))
    pd.testing.assert_frame_equal(one.links(), two.links())
    pd.testing.assert_frame_equal(one.neurons, two.neurons)


def test_a_table_of_neurons_gives_the_order_and_drops_other_rows(rows):
    ids = pd.unique(rows["pre"])[:9][::-1]
    neurons = pd.DataFrame({"id": ids, "type": [*"abcabcabc"]})
    brain = from_table(rows["pre"], rows["post"], rows["count"], neurons=neurons, unlinked=True)
    assert brain.neurons["id"].tolist() == ids.tolist()
    kept = rows[rows["pre"].isin(ids) & rows["post"].isin(ids)]
    assert brain.count.sum() == kept["count"].sum()
    pairs = {*zip(kept["pre"], kept["post"], strict=True)}
    links = brain.links()
    assert {*zip(links["pre"], links["post"], strict=True)} == pairs


def test_signs_come_from_rows_or_from_transmitters():
    columns = ["a", "a", "b", "c"], ["b", "b", "a", "a"], [2, 3, 4, 5]
    for sign in ([1, 1, -1, 0], ["ACH", " ach", "GABA", "DA"]):
        brain = from_table(*columns, sign=sign)
        assert brain.sign.tolist() == [-1, 0, 1]
        assert brain.weight().values.tolist() == [-4, 5, 5]
    assert from_table(*columns, sign=[True, True, False, True]).sign.tolist() == [-1, 1, 1]
    brain = from_table(*columns).with_neurons(nt=["Glut", "acetylcholine", "octopamine"])
    assert brain.with_signs("nt").sign.tolist() == [1, 0, -1]
    assert brain.with_signs("nt", {"glut": 1}, other=-1).sign.tolist() == [-1, -1, 1]
    assert brain.with_signs("nt").neuron_signs().tolist() == [-1, 1, 1]


def test_signs_of_one_neuron_may_differ_between_its_targets():
    brain = from_table(["a", "a", "a"], ["b", "b", "c"], [1, 1, 1], sign=[1, 1, -1])
    assert brain.sign.tolist() == [1, -1]
    assert brain.neuron_signs().tolist() == [0, 0, 0]


def test_rows_of_no_synapses_are_no_links():
    assert from_table([1, 1], [2, 3], [0, 2]).nnz == 1


def test_counts_of_any_size_and_means_are_kept():
    assert from_table([1, 1], [2, 2], [2**31 - 1] * 2).count.tolist() == [2**32 - 2]
    means = from_table([1, 1, 2], [2, 2, 1], [0.25, 0.5, 1.0])
    assert means.count.tolist() == [1.0, 0.75]


def test_more_signed_duplicates_than_a_byte_counts():
    brain = from_table([1] * 512, [2] * 512, sign=[1] * 512)
    assert brain.count.tolist() == [512]
    assert brain.sign.tolist() == [1]
    several = from_table([1] * 513, [2] * 512 + [3], sign=[1] * 512 + [-1])
    assert several.sign.tolist() == [1, -1]


def test_the_weight_has_targets_in_rows_and_is_frozen(rows):
    brain = from_table(rows["pre"], rows["post"], rows["count"])
    weight = brain.weight(dtype=torch.float64)
    dense = np.zeros((len(brain), len(brain)))
    place = {each: at for at, each in enumerate(brain.neurons["id"])}
    for row in rows.itertuples():
        dense[place[row.post], place[row.pre]] += row.count
    assert np.array_equal(weight.to_dense().detach().numpy(), dense)
    assert np.array_equal(brain.csr().toarray(), dense)
    assert weight.frozen_pattern


@pytest.mark.parametrize(
    "where",
    [{"type": "a"}, {"type": ["a"]}, lambda table: table["type"] == "a", [3, 5, 9],
     np.array([True, False] * 5)],
)  # fmt: skip
def test_subsets(where):
    rng = np.random.default_rng(1)
    kinds = [*"abcabcabca"]
    brain = from_table(*rng.integers(10, size=(2, 60)), neurons={"id": range(10), "type": kinds})
    mask = brain.where(where)
    table = brain.neurons
    if not isinstance(where, np.ndarray):
        wanted = table["id"].isin(where) if isinstance(where, list) else table["type"] == "a"
        assert mask.tolist() == wanted.tolist()
    part = brain.subset(where)
    assert part.neurons["id"].tolist() == table["id"][mask].tolist()
    assert np.array_equal(part.csr().toarray(), brain.csr().toarray()[mask][:, mask])


def test_thresholds_keep_neurons():
    brain = from_table([1, 2, 3], [2, 3, 1], [1, 5, 6])
    strong = brain.threshold(5)
    assert len(strong) == 3
    assert strong.links()["count"].tolist() == [6, 5]


@pytest.mark.parametrize("strong", [False, True])
def test_the_largest_component(strong):
    rng = np.random.default_rng(2)
    pre, post = rng.integers(60, size=(2, 40))
    ring = np.arange(20)
    brain = from_table([*pre, *ring, 100], [*post, *np.roll(ring, 1), 101])
    graph = nx.from_pandas_edgelist(brain.links(), "pre", "post", create_using=nx.DiGraph)
    find = nx.strongly_connected_components if strong else nx.weakly_connected_components
    sizes = sorted(map(len, find(graph)))
    part = brain.largest_component(strong=strong)
    assert len(part) == sizes[-1] > sizes[-2]
    assert {*part.neurons["id"]} in [*find(graph)]


def test_results_come_back_by_id():
    brain = from_table(["a", "b"], ["b", "c"])
    rates = brain.neuron_table(rate=torch.tensor([1.0, 2.0, 3.0]))
    assert rates.set_index("id")["rate"].to_dict() == {"a": 1, "b": 2, "c": 3}
    table = brain.link_table(gain=np.array([4.0, 5.0]))
    assert table.to_dict("list") == {"pre": ["a", "b"], "post": ["b", "c"], "gain": [4, 5]}
    with pytest.raises(ValueError, match=r"expected rate of shape \[3\], found \[2\]"):
        brain.neuron_table(rate=[1, 2])


def test_an_empty_table_is_an_empty_connectome():
    brain = from_table([], [])
    assert (len(brain), brain.nnz) == (0, 0)
    assert brain.largest_component().nnz == 0
    assert repr(Connectome.from_table([1], [2])) == "Connectome(2 neurons, 1 links, 1 synapses)"


def test_rows_are_summed_in_between_where_there_are_many(rows, monkeypatch, tmp_path):
    from sparse_engine.connectome import read_parquet, stream

    whole = from_table(rows["pre"], rows["post"], rows["count"])
    pa.parquet.write_table(pa.Table.from_pandas(rows), tmp_path / "rows.parquet")
    monkeypatch.setattr(stream, "MOST_ROWS", 100)
    monkeypatch.setattr("sparse_engine.connectome.arrow.ROWS", 64)
    sums = []
    sum_links = stream.sum_links
    monkeypatch.setattr(stream, "sum_links", lambda *a: sums.append(len(a[0])) or sum_links(*a))
    pd.testing.assert_frame_equal(read_parquet(tmp_path / "rows.parquet").links(), whole.links())
    assert len(sums) > 2
