"""FLOPs of torch's counter, held against the products of the reference implementations."""

import pytest
import torch
from torch.profiler import profile
from torch.utils.flop_counter import FlopCounterMode

from sparse_engine import nn
from sparse_engine.topology import SET

STEPS, BATCH, INPUTS, UNITS, DENSITY = 5, 3, 4, 20, 0.2
#: Cells, their options, and how often a link is met in a step, forward.
CELLS = [
    (nn.SparseRNN, {}, 1),
    (nn.SparseLSTM, {}, 1),
    (nn.SparseGRU, {}, 1),
    (nn.SparseMGU, {}, 1),
    (nn.SparseONLSTM, {"chunk_size": 4}, 1),
    (nn.SparseRHN, {"recurrence_depth": 3}, 1),
    (nn.SparseCTRNN, {"unfolds": 6}, 6),
    (nn.SparseRateRNN, {"unfolds": 2}, 2),
]


def counted(function):
    with FlopCounterMode(display=False) as counter:
        function()
    total = counter.get_flop_counts()["Global"]
    ours = {str(op): n for op, n in total.items() if str(op).startswith("sparse_engine")}
    return sum(ours.values()), sum(total.values())


@pytest.mark.parametrize(("cell", "options", "visits"), CELLS, ids=lambda each: str(each))
def test_links_count_and_nothing_else(cell, options, visits):
    network = cell(INPUTS, UNITS, density=DENSITY, **options)
    weights = [m for m in network.modules() if isinstance(m, nn.SparseWeight)]
    links = sum(weight.nnz for weight in weights)
    x = torch.randn(STEPS, BATCH, INPUTS)
    once = 2 * STEPS * BATCH * links * visits
    dense = sum(p.numel() for n, p in network.named_parameters() if n.startswith("weight_ih"))
    with torch.no_grad():
        ours, total = counted(lambda: network(x))
    assert total == once + 2 * STEPS * BATCH * dense and ours in (once, total)

    y = network(x)[0]
    ours, total = counted(lambda: y.sum().backward())
    stages = 3 if visits > 1 or cell in (nn.SparseCTRNN, nn.SparseRateRNN) else 2
    assert total == stages * once + 2 * STEPS * BATCH * dense


def test_profiles_name_operations_and_rewirings():
    model = nn.SparseLSTM(INPUTS, UNITS, density=DENSITY)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    rewiring = SET(model, optimizer, fraction=0.3, every=1)
    with profile() as profiled:
        model(torch.randn(STEPS, BATCH, INPUTS))[0].sum().backward()
        optimizer.step()
        rewiring.step()
    names = {event.key for event in profiled.key_averages()}
    assert {f"sparse_engine::{n}" for n in ("lstm_forward", "lstm_backward", "rewiring")} <= names
