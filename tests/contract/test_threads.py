"""Gradients of all networks have the same bits for any number of threads, more than there are, too.

Dense input weights that torch multiplies are left out: the bits of its products depend on threads.
"""

from functools import partial

import pytest
import torch
from contract.networks import FORMS, make, outcome
from pairwise import pairwise

from sparse_engine.nn import SparseLinear
from sparse_engine.testing import leaves_of

pytestmark = pytest.mark.cpu

#: Those that multiply dense input weights inside the time loop, with the same bits for all threads.
FUSED = ("rnn", "lstm", "lstm, projected", "gru")
MODULES = {form: partial(make, form, torch.float32, units=84, input_density=0.5) for form in FORMS}
MODULES |= {
    f"{form}, many links": partial(
        make, form, torch.float32, units=84, density=0.9, input_density=0.5
    )
    for form in ("rnn", "lstm", "normed lstm", "gru", "rhn", "on_lstm")
}
MODULES |= {f"{form}, dense input": partial(make, form, torch.float32, units=84) for form in FUSED}


def check(compute, counts, threads):
    threads(1)
    alone = compute()
    for count in counts:
        threads(count)
        for name, tensor in compute().items():
            assert torch.equal(alone[name], tensor), f"{name} with {count} threads"


def check_network(kind, steps, batch, counts, threads):
    network = MODULES[kind]()
    leaves = leaves_of(network, steps, batch)

    def compute():
        found = outcome(network, leaves)
        if "dense" in kind:
            del found["argument 0"]  # the end of a product of torch's own
        return found

    check(compute, counts, threads)


@pytest.mark.parametrize("kind", MODULES)
def test_more_threads_than_processors(kind, threads):
    check_network(kind, 12, 70, (2, 12, 32), threads)


@pytest.mark.parametrize("form", ["rnn", "lstm", "gru"])
@pytest.mark.parametrize("density", [0.01, 0.2])
def test_a_batch_of_one(form, density, threads):
    """Rows are summed eight at a time, and no thread begins within such a group."""
    network = make(form, torch.float32, units=2000, density=density, input_density=0.01)
    leaves = leaves_of(network, 3, 1)
    check(lambda: outcome(network, leaves), (2, 3, 7), threads)


@pytest.mark.parametrize("kind", [kind for kind in MODULES if kind.startswith("rnn")])
def test_teams_for_parts_of_the_columns(kind, threads):
    check_network(kind, 40, 128, (2, 3, 12), threads)


@pytest.mark.exhaustive
@pairwise(kind=[*MODULES], shape=[(7, 33), (50, 70), (3, 257)])
def test_all_counts(kind, shape, threads):
    check_network(kind, *shape, (2, 3, 4, 8, 12, 16, 32, 64), threads)


def test_linear(threads):
    layer, x = SparseLinear(8, 200, density=0.5), torch.randn(20, 70, 8)

    def compute():
        layer.zero_grad()
        y = layer(x)
        y.square().sum().backward()
        return {"y": y.detach(), "values": layer.weight.values.grad, "bias": layer.bias.grad}

    check(compute, (2, 12, 32), threads)


@pytest.mark.parametrize("form", ["rnn", "lstm", "gru", "ctrnn", "ltc"])
def test_in_bfloat16(form, threads):
    network = make(form, torch.float32, units=1491, density=0.02)
    leaves = leaves_of(network, 3, 33, initial=False)

    def compute():
        with torch.autocast("cpu", torch.bfloat16):
            return outcome(network, leaves)

    check(compute, (2,), threads)
