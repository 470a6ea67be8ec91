"""Fast paths are taken where they are meant to be: their results would be the same without them."""

import pytest
import torch
from kernels.sequences import FORMS, outcome
from testing import integers, random_pattern

from sparse_engine import ops
from sparse_engine.ops._dispatch.native import library

pytestmark = pytest.mark.cpu


@pytest.mark.parametrize(
    ("links", "columns", "grouped"), [(0.3, 512, 1), (0.3, 64, 0), (0.2, 512, 0)]
)
def test_rows_of_many_links_are_multiplied_in_groups(links, columns, grouped, counted):
    pattern = random_pattern(256, 256, int(links * 256 * 256))
    values, x = (
        integers(pattern.nnz, dtype=torch.float32),
        integers(256, columns, dtype=torch.float32),
    )
    ran = counted(lambda: ops.spmm(values, pattern, x))
    assert ran["grouped_products"] == grouped
    assert torch.equal(ops.spmm(values, pattern, x), pattern.dense(values) @ x)


@pytest.mark.parametrize("form", ["rnn", "lstm", "gru", "mgu", "normed_rnn", "rhn", "on_lstm"])
def test_time_loops_multiply_in_groups(form, counted):
    arguments = FORMS[form].problem(random_pattern(256, 256, 20_000), 40, 64, torch.float32)
    with torch.no_grad():
        assert counted(lambda: FORMS[form].function(**arguments))["grouped_products"] > 0


@pytest.mark.parametrize(
    ("batch", "links", "backward"),
    # Backward, the columns are cut where whole panels allow it, or units have few links.
    [(128, 3000, True), (32, 3000, True), (32, 9000, False), (19, 3000, True), (12, 3000, False)],
)
def test_two_teams_share_the_columns_of_a_batch(batch, links, backward, counted, threads, way):
    arguments = FORMS["rnn"].problem(random_pattern(330, 330, links), 40, batch, torch.float32)

    def parts():
        return counted(lambda: outcome(FORMS["rnn"].function, arguments))["parts"]

    way("columns")
    threads(1)
    assert parts() == 0
    threads(2)
    assert parts() == (4 if backward else 2)  # two members, forward and backward


@pytest.mark.parametrize("links", [3000, 9000, 40_000])
@pytest.mark.parametrize("batch", [7, 19, 32, 64, 128])
def test_each_way_has_the_same_bits(links, batch, counted, threads, way):
    arguments = FORMS["rnn"].problem(random_pattern(330, 330, links), 40, batch, torch.float32)
    found, ran = [], {}

    def run():
        found.append(outcome(FORMS["rnn"].function, arguments))

    for name, most in [("alone", 2), ("rows", 2), ("columns", 2), ("columns", 3), ("rows", 1)]:
        threads(most)
        way(name)
        ran[name, most] = counted(run)
    assert ran["alone", 2]["alone"] == 2
    assert ran["alone", 2]["teams"] == 0
    assert ran["rows", 2]["teams"] == 2
    assert ran["columns", 3]["parts"] >= 2 or links == 40_000
    for each in found[1:]:
        assert all(torch.equal(each[name], tensor) for name, tensor in found[0].items())


def test_nothing_is_tried_where_there_is_one_way(counted, threads, way):
    arguments = FORMS["rnn"].problem(random_pattern(20, 20, 50), 5, 3, torch.float32)
    threads(2)
    way(None)
    ran = counted(lambda: outcome(FORMS["rnn"].function, arguments))
    assert ran["teams"] == ran["alone"] == 0


def test_a_way_must_be_known():
    with pytest.raises(ValueError, match="expected rows, columns, alone or None, found 'both'"):
        library.set_way("both")


def test_the_pool_keeps_no_more_than_its_limit():
    pattern, values, limit = random_pattern(64, 8, 200), torch.randn(200), 512 << 20
    results = [ops.spmm(values, pattern, torch.ones(8, n)) for n in (600_000, 800_000, 1_000_000)]
    assert sum(each.nbytes for each in results) > limit
    del results
    assert limit // 2 < library.counters()["pooled_bytes"] <= limit
