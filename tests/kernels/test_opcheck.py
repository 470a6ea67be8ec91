"""What the dispatcher knows of every native operation: its schema, its cost."""

import pytest
import torch
from exhaustive.fuzz import recorded
from testing import copied, is_real
from torch.library import opcheck
from torch.profiler import profile
from torch.utils.flop_counter import FlopCounterMode

from sparse_engine import nn
from sparse_engine.topology import SET

#: A compiler's own tests are those of fake tensors and of compiled networks.
CHECKS = ("test_schema", "test_autograd_registration", "test_faketensor")
PREFIX = "sparse_engine::"
NAMES = sorted(
    name.removeprefix(PREFIX)
    for name in torch._C._dispatch_get_all_op_names()
    if name.startswith(PREFIX)
)


@pytest.fixture(scope="module")
def calls():
    """Calls of each operation by its name, those with the fewest optional arguments first."""
    torch.manual_seed(0)
    found = {}
    for operation, arguments in recorded():
        found.setdefault(operation.name().split("::")[1].split(".")[0], []).append(
            (operation, arguments)
        )
    return {
        name: sorted(each, key=lambda call: sum(a is not None for a in call[1]))
        for name, each in found.items()
    }


@pytest.mark.parametrize("name", NAMES)
def test_every_operation(name, calls):
    """With the fewest and with the most arguments that it is called with."""
    for operation, arguments in (calls[name][0], calls[name][-1]):
        trains = any(
            torch._C._dispatch_has_kernel_for_dispatch_key(operation.name(), key)
            for key in ("Autograd", "AutogradCPU")
        )
        own = [
            each.requires_grad_(trains and argument.name != "mask") if is_real(each) else each
            for argument, each in zip(operation._schema.arguments, copied(arguments), strict=False)
        ]
        opcheck(operation, tuple(own), test_utils=CHECKS)


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
