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


def test_two_teams_share_the_columns_of_a_batch(counted, threads):
    arguments = FORMS["rnn"].problem(random_pattern(330, 330, 3000), 40, 128, torch.float32)

    def parts():
        return counted(lambda: outcome(FORMS["rnn"].function, arguments))["parts"]

    threads(1)
    assert parts() == 0
    threads(2)
    assert parts() == 4  # two members, forward and backward


def test_the_pool_keeps_no_more_than_its_limit():
    pattern, values, limit = random_pattern(64, 8, 200), torch.randn(200), 512 << 20
    results = [ops.spmm(values, pattern, torch.ones(8, n)) for n in (600_000, 800_000, 1_000_000)]
    assert sum(each.nbytes for each in results) > limit
    del results
    assert limit // 2 < library.counters()["pooled_bytes"] <= limit
