"""Every published method in a loop as users write it, where graphs of earlier steps live on."""

import pytest
import torch
from methods import OPTIONS, assert_same
from testing import random_pattern

from sparse_engine.nn import SparseLinear, SparseRNN
from sparse_engine.topology import SET, SNFS, ConstantFanIn, wire

STEPS = 16  # of which the 7th and the 14th, or all, are followed by a rewiring
SLOW_STEPS = 9


def itself(model):
    return model


def compiled(model):
    torch.compiler.reset()
    return torch.compile(model, backend="aot_eager")


def beside_another(model):
    """The sum of two networks that have their sparse weights in common."""
    torch.manual_seed(0)
    other = SparseRNN(3, model.hidden_size, 2, density=0.2, input_density=0.5)
    for name, weight in model.named_children():
        setattr(other, name, weight)
    return lambda x: [sum(both) for both in zip(model(x), other(x), strict=True)]


def backward(loss):
    loss.backward()


def accumulating(loss):
    (loss / 2).backward(retain_graph=True)
    (loss / 2).backward()


LOOPS = {
    "plain": (itself, backward),
    "accumulation": (itself, accumulating),
    "shared weights": (beside_another, backward),
    "compiled": (compiled, backward),
}


# Where a hook that notes gradients breaks a compiled graph, torch looks at .grad of the output.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
@pytest.mark.parametrize(
    ("method", "loop"),
    [
        *((method, "accumulation") for method in OPTIONS),
        *((method, loop) for method in (SET, SNFS) for loop in ("plain", "shared weights")),
        *(pytest.param(method, "compiled", marks=pytest.mark.exhaustive) for method in OPTIONS),
    ],
    indirect=["method"],
)
def test_graphs_that_live_on_change_nothing(loop, build):
    wrap, go_back = LOOPS[loop]

    def trained(alive):
        """With the losses of all steps kept, or with none alive while links are rewired."""
        model, optimizer, rewiring = parts = build(1)
        network, parameters, losses = wrap(model), [*model.parameters()], []
        for step in range(SLOW_STEPS if loop == "compiled" else STEPS):
            x = torch.randn(5, 4, 3, generator=torch.Generator().manual_seed(step))
            losses.append(network(x)[0].square().mean())
            optimizer.zero_grad()
            go_back(losses[-1])
            optimizer.step()
            if not alive:
                losses.clear()
            rewiring.step()
        assert all(now is then for now, then in zip(model.parameters(), parameters, strict=True))
        return parts

    assert_same(trained(alive=True), trained(alive=False))


@pytest.mark.parametrize("links", [90, 100, 110])
def test_a_retained_graph_cannot_be_used_once_links_have_changed(links):
    layer = SparseLinear(20, 20, density=0.25)
    loss = layer(torch.randn(5, 20)).square().mean()
    loss.backward(retain_graph=True)
    layer.weight.set_pattern(random_pattern(20, 20, links), torch.randn(links))
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


OTHER_LINKS = {
    "wire": lambda model: wire(model, ConstantFanIn(3)),
    "load_state_dict": lambda model: model.load_state_dict(
        SparseRNN(3, 24, 2, density=0.1, input_density=0.7).state_dict()
    ),
}


@pytest.mark.parametrize("change", OTHER_LINKS)
def test_any_other_number_of_links_may_come_while_a_graph_lives(change):
    model = SparseRNN(3, 24, 2, density=0.2, input_density=0.5)
    losses = []
    for _ in range(2):
        losses.append(model(torch.randn(5, 4, 3))[0].square().mean())
        losses[-1].backward()
        OTHER_LINKS[change](model)
    losses.append(model(torch.randn(5, 4, 3))[0].square().mean())
    losses[-1].backward()
    assert all(each.grad.shape == each.shape for each in model.parameters())


def test_hooks_stay(build):
    """Hooks of a Parameter, also of optimizers that step inside the backward pass."""
    model, optimizer, rewiring = build(1)
    calls = []
    for parameter in model.parameters():
        parameter.register_hook(lambda gradient: calls.append("gradient"))
        parameter.register_post_accumulate_grad_hook(lambda parameter: calls.append("sum"))
    for _ in range(STEPS):
        loss = model(torch.randn(5, 4, 3))[0].square().mean()
        calls.clear()
        loss.backward()
        assert calls.count("gradient") == calls.count("sum") == len([*model.parameters()])
        optimizer.step()
        rewiring.step()
