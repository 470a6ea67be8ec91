"""Networks under torch.func and forward-mode autograd."""

import pytest
import torch
from testing import CELLS, output_of
from torch.autograd import forward_ad
from torch.func import functional_call, grad, jacrev, jvp, stack_module_state, vmap
from torch.testing import assert_close

from sparse_engine.nn import SparseLinear

# Forward mode loads derivatives of its own with torch.jit, of which torch warns from 2.14 on.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning")


def operation_of(name):
    return problem(name)[0].cell.operation


EVERY = pytest.mark.parametrize("cell", CELLS)


def real(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def problem(cell, **options):
    network = CELLS[cell](3, 7, density=0.4, dtype=torch.float64, **options)
    parameters = {name: each.detach() for name, each in network.named_parameters()}

    def loss(parameters, x):
        return (functional_call(network, parameters, (x,))[0] ** 2).sum()

    return network, parameters, loss


@EVERY
def test_gradients_of_each_sample(cell):
    _, parameters, loss = problem(cell)
    x = real(3, 4, 2, 3)
    found = vmap(grad(loss), (None, 0))(parameters, x)
    expected = [grad(loss)(parameters, each) for each in x]
    for name, each in found.items():
        assert_close(each, torch.stack([own[name] for own in expected]))


@pytest.mark.parametrize("cell", [*CELLS, "linear"])
def test_gradients_of_a_batch_of_gradients(cell):
    """As ``jacobian(vectorize=True)`` and gradcheck's ``check_batched_grad`` ask for them."""
    make = SparseLinear if cell == "linear" else CELLS[cell]
    network, x = make(3, 7, density=0.4, dtype=torch.float64), real(4, 2, 3).requires_grad_()
    y, leaves = output_of(network, x), [x, *network.parameters()]
    upstream = real(5, *y.shape)
    found = torch.autograd.grad(y, leaves, upstream, is_grads_batched=True, retain_graph=True)
    each = [torch.autograd.grad(y, leaves, own, retain_graph=True) for own in upstream]
    assert_close(found, tuple(map(torch.stack, zip(*each, strict=True))))


@EVERY
def test_gradients_of_an_ensemble_of_different_wirings(cell):
    members = [CELLS[cell](3, 7, density=0.4, dtype=torch.float64) for _ in range(3)]
    x = real(4, 2, 3)

    def loss(parameters, buffers):
        return (functional_call(members[0], (parameters, buffers), (x,))[0] ** 2).sum()

    parameters, buffers = stack_module_state(members)
    found = vmap(grad(loss))({k: v.detach() for k, v in parameters.items()}, buffers)
    for at, member in enumerate(members):
        (member(x)[0] ** 2).sum().backward()
        for name, each in member.named_parameters():
            assert_close(found[name][at], each.grad)


@pytest.mark.parametrize("cell", [name for name in CELLS if operation_of(name)])
def test_networks_refuse_other_derivatives_by_name(cell):
    network, _, _ = problem(cell)
    x = real(4, 2, 3)

    def run(x):
        return network(x)[0]

    message = (
        r"sparse_engine.ops.\w+ has no forward-mode derivative.*sparse_engine.ops.\w+.reference"
    )
    with pytest.raises(RuntimeError, match=message):
        jvp(run, (x,), (x,))
    for recorded in (True, False):
        with (
            torch.set_grad_enabled(recorded),
            forward_ad.dual_level(),
            pytest.raises(RuntimeError, match=message),
        ):
            run(forward_ad.make_dual(x, x))
    with pytest.raises(RuntimeError, match="differentiated once; for a second derivative use"):
        jacrev(jacrev(run))(x)


@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")  # torch 2.15, as it traces
def test_a_compiled_network_refuses_tangents():
    network, x = CELLS["rnn"](3, 7, density=0.4), torch.randn(4, 2, 3)
    compiled = torch.compile(lambda x: jvp(lambda x: network(x)[0], (x,), (x,)), backend="eager")
    with pytest.raises(Exception, match=r"ops\.rnn has no forward-mode derivative"):
        compiled(x)


@pytest.mark.parametrize("cell", ["lstm", "rhn"])
def test_gradients_of_checkpointed_networks(cell):
    network, parameters, loss = problem(cell)
    x = real(6, 2, 3)
    expected = grad(loss)(parameters, x)
    network.checkpoint_every = 2
    assert_close(grad(loss)(parameters, x), expected)
