"""Properties of every published method, also in a loop where graphs of earlier steps live on."""

import copy
import inspect

import pytest
import torch
from methods import OPTIONS, assert_same, train
from testing import assert_valid, random_pattern
from torch import nn

from sparse_engine import topology
from sparse_engine.lab.train import METHODS
from sparse_engine.models import SparseMLP
from sparse_engine.nn import SparseGRU, SparseLinear, SparseLSTM, SparseRHN, SparseRNN
from sparse_engine.topology import SET, SNFS, ConstantFanIn, DeepR, GraNet, RigL, wire


def test_no_method_is_forgotten():
    assert {*OPTIONS} == {entry.kind for entry in METHODS.values()}


def test_the_default_device_decides_nothing(build):
    first, second = build(5), build(5)
    train(first, 0, 22)
    step = second.rule.step

    def step_elsewhere():
        with torch.device("meta"):
            step()

    second.rule.step = step_elsewhere
    train(second, 0, 22)
    assert_same(first, second)


def test_the_number_of_links_is_exact(method, build):
    parts = build(4)
    weights = parts.rule.weights
    before, links = [topology.topology_hash(weight) for weight in weights], [w.nnz for w in weights]
    positions = sum(out * inputs for out, inputs in (weight.shape for weight in weights))

    def check(step):
        now = [weight.nnz for weight in weights]
        if method in (topology.GraNet, topology.GradualPruning, topology.CHTss):
            rewired = step - step % 7
            wanted = round(parts.rule.densities.at(rewired) * positions) if rewired else sum(links)
            assert sum(now) == min(wanted, sum(links))
        elif method in (topology.SNFS, topology.DSR):
            assert sum(now) == sum(links)
        elif method in (topology.NarangPruning, topology.ImportanceSET):
            assert all(new <= old for new, old in zip(now, links, strict=True))
        else:
            assert now == links

    train(parts, 0, 40, check)
    for weight in weights:
        assert_valid(weight)
    changed = [
        topology.topology_hash(weight) != old for weight, old in zip(weights, before, strict=True)
    ]
    assert any(changed) != (method is topology.Static)


def test_links_that_return_may_stay(method, build):
    """With keep_returning, every link that exists before and after a rewiring has stayed."""
    pruning = (topology.GradualPruning, topology.NarangPruning, topology.ImportanceSET)
    if method in (topology.Static, topology.DeepR, topology.PeriodicDeepR, *pruning):
        pytest.skip("no link returns, or it must not keep its value")
    arguments = inspect.signature(method).parameters
    parts, required = build(5), {"steps": 40, "density": 0.1}
    options = {name: value for name, value in required.items() if name in arguments}
    assert method(parts.model, parts.optimizer, keep_returning=True, **options).keep_returning
    parts = build(5)
    parts.rule.keep_returning = True
    stayed = []

    def observe(name, weight, rewired):
        now = {*rewired.links.positions().tolist()}
        kept = int((rewired.slot_map >= 0).sum())
        assert kept == len(now & positions[weight])
        stayed.append(kept)

    parts.rule.observers.append(observe)
    positions = {}

    def look(step):
        positions.update({w: {*w.pattern.links.positions().tolist()} for w in parts.rule.weights})

    look(0)
    train(parts, 0, 22, look)
    assert len(stayed) == 3 * len(parts.rule.weights)


def test_options_that_all_methods_share(method, build):
    if method is topology.Static:
        pytest.skip("takes a model and an optimizer only")
    parts, observers = build(5), (lambda *_: None,)
    required = {"steps": 40, "density": 0.1, "last": 30, "ramp": topology.NarangRamp(1, 5, 9)}
    own = inspect.signature(method).parameters
    options = {name: value for name, value in required.items() if name in own}
    rewiring = method(parts.model, parts.optimizer, seed=7, observers=observers, **options)
    assert rewiring.seed == 7 and rewiring.observers == [*observers]
    with pytest.raises(TypeError, match="seeds"):
        method(parts.model, parts.optimizer, seeds=7, **options)


STEPS = 16  # of which the 7th and the 14th, or all, are followed by a rewiring
SLOW_STEPS = 9
#: Links at each step, by the gradient or its moments, and fewer as time goes; no gradient at all.
COMPILED = SET, DeepR, RigL, SNFS, GraNet


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
        *(pytest.param(method, "compiled", marks=pytest.mark.exhaustive) for method in COMPILED),
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


NETWORKS = {
    "LSTM": (lambda: SparseLSTM(9, 12, density=0.3, input_density=0.3), 4),
    "GRU": (lambda: SparseGRU(9, 12, density=0.3, input_density=0.3), 3),
    "RHN": (lambda: SparseRHN(9, 12, recurrence_depth=2, density=0.3, input_density=0.3), 2),
    "RNN": (lambda: SparseRNN(9, 12, density=0.3, input_density=0.3), 1),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_each_weight_of_a_language_model_has_the_gates_of_its_network(name):
    make, gates = NETWORKS[name]
    decoder = SparseLinear(12, 400, density=0.3)
    model = nn.Sequential(make(), decoder)
    rewiring = topology.Selfish(model, None, steps=1000, fraction=0.5, every=1)
    grown = {}
    rewiring.observers.append(lambda name, weight, rewired: grown.update({weight: rewired.born}))
    rewiring.step()
    for weight, born in grown.items():
        rows, expected = weight.rows()[born.long()], 1 if weight is decoder.weight else gates
        per_gate = torch.bincount(rows // (weight.shape[0] // expected), minlength=expected)
        assert int(per_gate.max() - per_gate.min()) <= 1
    # Growth in four blocks of a hundred words would be as equal there.
    words = torch.bincount(decoder.weight.rows()[grown[decoder.weight].long()] // 100, minlength=4)
    assert int(words.max() - words.min()) > 1


def trained(output_density=0.3, **options):
    generator = torch.Generator().manual_seed(0)
    densities = [0.3, 0.3, output_density]
    model = SparseMLP([30, 20, 16, 10], density=densities, generator=generator)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model(torch.randn(8, 30, generator=generator)).square().mean().backward()
    optimizer.step()
    return model, optimizer, topology.ImportanceSET(model, optimizer, **options)


def weights_of(model):
    return [layer.weight for layer in model.linear]


def lost(dense, share):
    """Return the rows that are to lose their links, the least sums first."""
    sums, linked = dense.abs().sum(1), (dense != 0).any(1)
    order = [i for i in sums.argsort().tolist() if linked[i]]
    return order[: int(share * len(order))]


@pytest.mark.parametrize("output_density", [0.3, 1.0])
def test_hidden_units_lose_their_links_and_outputs_keep_theirs(output_density):
    model, optimizer, method = trained(output_density, share=0.25)
    hidden = weights_of(model)[:2]
    before = [weight.to_dense().detach() for weight in hidden]
    momentum = [optimizer.state[weight.values]["momentum_buffer"].clone() for weight in hidden]
    rows = [weight.rows() for weight in hidden]
    output = copy.deepcopy(model.linear[-1].state_dict())
    seen = []
    method.observers.append(lambda name, weight, rewired: seen.append((name, len(rewired.born))))
    method.remove_neurons()
    for weight, dense, moments, row in zip(hidden, before, momentum, rows, strict=True):
        gone = lost(dense, 0.25)
        assert len(gone) == len(dense) // 4
        dense[gone] = 0
        assert torch.equal(weight.to_dense(), dense)
        kept = ~torch.isin(row, torch.tensor(gone))
        assert torch.equal(optimizer.state[weight.values]["momentum_buffer"], moments[kept])
    now = model.linear[-1].state_dict()
    assert all(torch.equal(entry, now[name]) for name, entry in output.items())
    assert seen == [("layers.linear0.weight", 0), ("layers.linear1.weight", 0)]


def test_prunes_at_its_times_and_is_set_otherwise():
    model, _, method = trained(every=2, prune_every=3, prune_after=2, share=0.2)
    counts = [sum(weight.nnz for weight in weights_of(model))]
    for _ in range(20):
        method.step()
        counts.append(sum(weight.nnz for weight in weights_of(model)))
    # Rewirings 5 and 8, which are at steps 10 and 16, are 3 and 6 after the second.
    changes = [i for i in range(1, 21) if counts[i] != counts[i - 1]]
    assert changes == [10, 16]
    assert counts[0] > counts[10] > counts[16]


def test_equals_set_before_the_first_pruning():
    one, *_, method = trained(every=2, seed=5)
    other, optimizer, _ = trained()
    rewiring = topology.SET(other, optimizer, every=2, seed=5)
    for _ in range(6):
        method.step()
        rewiring.step()
    hashes = [[topology.topology_hash(weight) for weight in weights_of(m)] for m in (one, other)]
    assert hashes[0] == hashes[1]
