"""A step of a stream by one operation: what it equals, when it is taken, and what it sees."""

import copy
import pickle

import pytest
import torch
from contract.networks import FORMS, make, mostly_exhaustive
from pairwise import pairwise
from torch import nn
from torch.func import functional_call
from torch.nn.utils import parametrize, prune
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode

from sparse_engine.nn import SparseLSTM, SparseWeight
from sparse_engine.nn._step import quick_step
from sparse_engine.ops import Pattern
from sparse_engine.topology import SET, RigL

pytestmark = pytest.mark.cpu

CELLS = ("rnn", "lstm", "gru", "mgu")
QUICK = (*CELLS, "rnn, relu", "lstm, clipped")
UNITS = 21


def small(form="lstm", dtype=torch.float32, **options):
    return make(form, dtype, num_layers=2, **{"input_density": 0.5} | options)


def inputs(network, batch=None, *, started=True):
    """Return an input and a state, as :meth:`step` takes them."""
    generator = torch.Generator().manual_seed(7)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(network.dtype)

    rows = () if batch is None else (batch,)
    states = tuple(draw(network.num_layers, *rows, UNITS) for _ in network.states)
    hx = states if len(states) > 1 else states[0]
    return draw(*rows, network.input_size), hx if started else None


def tensors(result):
    y, hx = result
    return [y, *hx] if isinstance(hx, tuple) else [y, hx]


def by_forward(network, x, hx, **resets):
    """Return what :meth:`forward` gives for a sequence of one step."""
    time = 1 if network.batch_first and x.dim() == 2 else 0
    resets = {name: each.unsqueeze(time) for name, each in resets.items()}
    y, *states = tensors(network(x.unsqueeze(time), hx, **resets))
    return [y.squeeze(time), *states]


def assert_equal(found, expected):
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one, other)


@torch.no_grad()
@pairwise(
    form=QUICK,
    dtype=[torch.float32, torch.float64],
    batch=[None, 1, 3, 40],
    layers=[1, 3],
    bias=[True, False],
    started=[True, False],
    batch_first=[True, False],
    units=[21, 420],
)
def test_bits_of_the_ordinary_way(form, dtype, batch, layers, bias, started, batch_first, units):
    network = make(
        form,
        dtype,
        units=units,
        num_layers=layers,
        bias=bias,
        batch_first=batch_first,
        input_density=0.5,
    )
    x, hx = inputs(network, batch, started=False)
    if started:
        hx = network.step(x)[1]
    found = quick_step(network, x, hx)
    assert_equal(tensors(found), by_forward(network, x, hx))
    assert_equal(tensors(network.step(x, hx)), tensors(found))


@torch.no_grad()
@pytest.mark.parametrize("form", QUICK)
@pytest.mark.parametrize("batch", [None, 3])
def test_resets_go_the_quick_way(form, batch, monkeypatch):
    network = small(form)
    x, hx = inputs(network, batch)
    resets = torch.tensor([True, False, True] if batch else True)
    wanted = by_forward(network, x, hx, resets=resets)
    monkeypatch.setattr(type(network), "forward", None)  # which the ordinary way calls
    found = tensors(network.step(x, hx, resets=resets))
    assert_equal(found, wanted)
    assert not torch.equal(found[0], network.step(x, hx)[0])


@torch.no_grad()
@pairwise(form=QUICK, inputs_=[1, 6, 100, 300], batch=[None, 1, 3], bias=[True, False])
def test_dense_input_weights(form, inputs_, batch, bias):
    network = FORMS[form](inputs_, UNITS, density=0.3, bias=bias, dtype=torch.float64)
    x, hx = inputs(network, batch)
    wide = batch == 3 and inputs_ > network.cell.most_fused_inputs
    assert (quick_step(network, x, hx) is None) == wide
    assert_close(tensors(network.step(x, hx)), by_forward(network, x, hx), rtol=1e-12, atol=1e-12)


@torch.no_grad()
@pytest.mark.parametrize("cell", CELLS)
def test_any_number_of_threads_and_no_shared_memory(cell, threads):
    network = make(cell, torch.float32, units=420, num_layers=2, input_density=0.5)
    x = torch.randn(1, 6)
    hx = network.step(x)[1]
    before = [each.clone() for each in tensors((x, hx))]
    found = []
    for count in (1, 3):
        threads(count)
        found.append(tensors(quick_step(network, x, hx)))
    assert_equal(*found)
    assert_equal(tensors((x, hx)), before)
    memory = {each.untyped_storage().data_ptr() for each in (*found[0], *tensors((x, hx)))}
    assert len(memory) == 2 * len(found[0])


def by_hand(network):
    for parameter in network.parameters():
        parameter.mul_(1.5)


def other_parameters(network):
    network.bias_hh_l1 = nn.Parameter(network.bias_hh_l1 + 1)
    network.weight_hh_l0.values = nn.Parameter(network.weight_hh_l0.values * 2)
    network.weight_ih_l0.values.data = network.weight_ih_l0.values.data * 3


def other_links(network):
    weight = SparseWeight.erdos_renyi(*network.weight_hh_l0.shape, density=0.5)
    network.weight_hh_l0, rows = weight, sum(network.blocks)
    one_each = torch.arange(rows + 1), torch.arange(rows) % UNITS, (rows, UNITS)
    network.weight_ih_l1.set_pattern(Pattern.from_csr(*one_each), torch.ones(rows))


def dense_input(network):
    del network.weight_ih_l0
    network.weight_ih_l0 = nn.Parameter(torch.randn(sum(network.blocks), network.input_size))


def patched(network):
    own = network.forward
    network.forward = lambda *arguments: (3 * own(*arguments)[0], own(*arguments)[1])


def parametrized(module, name):
    parametrize.register_parametrization(module, name, nn.Softplus())


#: Changes that the quick way sees.
CHANGES = {
    "values": by_hand,
    "parameters": other_parameters,
    "links": other_links,
    "load_state_dict": lambda network: network.load_state_dict(
        small(density=0.6, input_density=0.2).state_dict()
    ),
    "a rewiring": lambda network: SET(network, None, fraction=0.5, every=1).step(),
    "reset_parameters": lambda network: network.reset_parameters(),
    "dense input weight": dense_input,
}
#: Changes that leave the ordinary way alone.
DISTURBED = {
    "hook": lambda network: network.register_forward_hook(lambda _, x, y: (3 * y[0], y[1])),
    "pre-hook": lambda network: network.register_forward_pre_hook(lambda _, x: (2 * x[0], *x[1:])),
    "hook of a weight": lambda network: network.weight_ih_l0.register_forward_hook(
        lambda _, x, y: 3 * y
    ),
    "pruned weight": lambda network: prune.l1_unstructured(network.weight_hh_l0, "values", 0.5),
    "pruned bias": lambda network: prune.l1_unstructured(network, "bias_ih_l0", 0.5),
    "parametrized weight": lambda network: parametrized(network.weight_hh_l1, "values"),
    "parametrized bias": lambda network: parametrized(network, "bias_hh_l1"),
    "patched forward": patched,
}


@torch.no_grad()
@pytest.mark.parametrize("change", CHANGES | DISTURBED)
def test_changes_are_seen(change):
    network = small()
    x, hx = inputs(network)
    before = tensors(network.step(x, hx))
    (CHANGES | DISTURBED)[change](network)
    assert (quick_step(network, x, hx) is None) == (change in DISTURBED)
    found = tensors(network.step(x, hx))
    assert not torch.equal(found[0], before[0])
    assert_close(found, by_forward(network, x, hx))


@torch.no_grad()
def test_copies_and_other_dtypes():
    network = small()
    network.step(*inputs(network))
    for other in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        by_hand(other)
        x, hx = inputs(other)
        assert_equal(tensors(quick_step(other, x, hx)), by_forward(other, x, hx))
        assert not torch.equal(network.step(x, hx)[0], other.step(x, hx)[0])
    assert quick_step(network.double(), *inputs(network))[0].dtype == torch.float64


class Loud(SparseLSTM):
    """A user's class that overrides what its base calls."""

    def run_layer(self, *arguments, **options):
        y, *final = super().run_layer(*arguments, **options)
        return 2 * y, *final


@torch.no_grad()
def test_hooks_of_all_modules():
    network, seen = small(), []
    handle = nn.modules.module.register_module_forward_hook(lambda *_: seen.append(1))
    try:
        network.step(*inputs(network))
    finally:
        handle.remove()
    assert seen


@torch.no_grad()
@pytest.mark.parametrize("form", [form for form in FORMS if form not in QUICK])
def test_other_forms_go_the_ordinary_way(form):
    assert quick_step(small(form), *inputs(small(form))) is None


@torch.no_grad()
def test_subclasses_and_dropout():
    loud = Loud(6, UNITS, density=0.3)
    x, hx = inputs(loud)
    assert_equal(tensors(loud.step(x, hx)), by_forward(loud, x, hx))
    dropping = small(dropout=0.5)
    x, hx = inputs(dropping)
    assert quick_step(dropping, x, hx) is None
    assert quick_step(dropping.eval(), x, hx) is not None


@pytest.mark.parametrize("cell", CELLS)
def test_gradients(cell):
    network = small(cell)
    x, hx = inputs(network)
    assert network.step(x, hx)[0].requires_grad
    network.requires_grad_(requires_grad=False)
    assert quick_step(network, x, hx) is not None
    x.requires_grad_()
    network.step(x, hx)[0].sum().backward()
    assert x.grad.abs().sum() > 0
    hx = tuple(each.requires_grad_() for each in (hx if isinstance(hx, tuple) else (hx,)))
    network.step(x.detach(), hx if len(hx) > 1 else hx[0])[0].sum().backward()
    assert hx[0].grad.abs().sum() > 0


def test_factors_are_captured():
    network = small("rnn")
    rewiring = RigL(network, torch.optim.SGD(network.parameters(), lr=0.1), steps=4, every=1)
    network.step(*inputs(network, 3))[0].sum().backward()
    rewiring.step()
    assert network.weight_hh_l0.topology_version == 1


@torch.no_grad()
@mostly_exhaustive("cell", CELLS, "lstm")
def test_compilers_transforms_and_modes(cell):
    network = small(cell)
    x, hx = inputs(network, 3)
    expected = tensors(network.step(x, hx))
    compiled = torch.compile(network.step, backend="eager", fullgraph=True)
    assert_equal(tensors(compiled(x, hx)), expected)
    y = torch.vmap(lambda x: network.step(x)[0])(x)
    assert_close(y, network.step(x)[0])
    with torch.autocast("cpu", torch.bfloat16):
        assert_equal(tensors(network.step(x, hx)), by_forward(network, x, hx))
    with torch.inference_mode():
        assert_equal(tensors(network.step(x, hx)), expected)
    with FlopCounterMode(display=False) as one, FlopCounterMode(display=False) as other:
        network.step(x, hx)
    assert one.get_total_flops() == other.get_total_flops() > 0
    others = {f"network.{name}": 2 * each for name, each in network.named_parameters()}
    found = functional_call(Stepping(network), others, (x, hx))
    twin = copy.deepcopy(network)
    for parameter in twin.parameters():
        parameter.mul_(2)
    assert_equal(tensors(found), tensors(twin.step(x, hx)))


class Stepping(nn.Module):
    """A user's module that calls step()."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x, hx):
        return self.network.step(x, hx)


WRONG = {
    "features": lambda x, hx: (x[..., :-1], hx),
    "dimensions": lambda x, hx: (x[None, None], hx),
    "dtype": lambda x, hx: (x.double(), hx),
    "dtype of a state": lambda x, hx: (x, (hx[0], hx[1].double())),
    "states": lambda x, hx: (x, hx[0]),
    "one state": lambda x, hx: (x, (hx[0], None)),
    "shape of a state": lambda x, hx: (x, (hx[0], hx[1][:1])),
    "device": lambda x, hx: (x.to("meta"), hx),
    "no tensor": lambda x, hx: ([1.0], hx),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_errors_are_those_of_the_ordinary_way(wrong):
    network = small()
    x, hx = WRONG[wrong](*inputs(network, 3))
    errors = []
    for grad in (True, False):
        with torch.set_grad_enabled(grad), pytest.raises(Exception, match="expected") as error:
            network.step(x, hx)
        errors.append((error.type, str(error.value)))
    assert errors[0] == errors[1]


@torch.no_grad()
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("entry", [-1, 10**6])
def test_columns_out_of_range(cell, entry):
    for name in ("weight_hh_l0", "weight_ih_l0", "weight_hh_l1"):
        network = small(cell)
        columns = getattr(network, name).col_indices
        columns[columns.numel() // 2] = entry
        with pytest.raises(ValueError, match=rf"expected col_indices in .* found {entry}"):
            network.step(*inputs(network))
