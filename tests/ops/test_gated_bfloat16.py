"""LSTM and GRU with activations in bfloat16, against their slow twins in double precision."""

import math

import pytest
import torch
from torch.library import opcheck

from sparse_engine import ops
from sparse_engine.ops._native import native
from sparse_engine.ops.gru import GRU
from sparse_engine.ops.lstm import lstm_and_saved, unprojected
from sparse_engine.ops.mgu import MGU
from sparse_engine.testing import as_tuple, batch_sizes_of, is_real, random_pattern

HALF = 2**-8  # of a result: the rounding of bfloat16 to the nearest
TWINS = {"lstm": (ops.lstm, ops.lstm_ref), "gru": (ops.gru, ops.gru_ref)}
TWINS |= {"mgu": (ops.mgu, ops.mgu_ref)}
GATES = {"lstm": 4, "gru": 3, "mgu": 2}
CELLS = pytest.mark.parametrize("cell", TWINS)
LENGTHS = [None, [7] * 3 + [5] * 30 + [1] * 40]


def activations(*shape):
    return torch.randn(shape).bfloat16()


def problem(cell, hidden, steps, batch, *, links=None, inputs=None, initial=True, lengths=None):
    """The arguments of an operation, by name."""
    rows = GATES[cell] * hidden
    pattern = random_pattern(rows, hidden, rows * hidden // 5 if links is None else links)
    outer, sizes = (steps, batch), None
    if lengths is not None:
        sizes = batch_sizes_of(lengths)
        outer, batch = (sum(lengths),), len(lengths)
    arguments = {"x": activations(*outer, inputs or rows)}
    arguments["h0"] = activations(batch, hidden) if initial else None
    if cell == "lstm":
        arguments["c0"] = torch.randn(batch, hidden) if initial else None
    arguments["bias"] = torch.randn(rows)
    arguments["values"] = torch.randn(pattern.nnz) * (rows / max(1, pattern.nnz)) ** 0.5
    if inputs:
        arguments["w_input"] = torch.randn(rows, inputs) * inputs**-0.5
    if inputs and cell != "lstm":
        arguments["b_input"] = torch.randn(rows)
    return arguments | {"pattern": pattern, "batch_sizes": sizes}


def widened(arguments, dtype=torch.float64):
    """The same numbers in another dtype."""
    return {name: each.to(dtype) if is_real(each) else each for name, each in arguments.items()}


def run(function, arguments):
    """Its results, as a tuple."""
    own = dict(arguments)
    projection = own.pop("p_values", None), own.pop("p_pattern", None)
    if None not in projection:
        own["projection"] = projection
    return as_tuple(function(**own))


def gradients(function, arguments, upstream):
    """The results, and the gradients of all tensors, by name."""
    leaves = {
        name: each.clone().requires_grad_() for name, each in arguments.items() if is_real(each)
    }
    results = run(function, arguments | leaves)
    upstream = [each.to(result) for each, result in zip(upstream, results, strict=True)]
    grads = torch.autograd.grad(results, [*leaves.values()], upstream)
    return dict(enumerate(results)) | dict(zip(leaves, grads, strict=True))


def check(cell, arguments, bound=2 * HALF):
    """Every result and gradient as a whole, and their dtypes."""
    operation, twin = TWINS[cell]
    upstream = [torch.randn(result.shape) for result in run(operation, arguments)]
    found = gradients(operation, arguments, upstream)
    for name, wanted in gradients(twin, widened(arguments), upstream).items():
        kept = torch.bfloat16 if name in (0, "x", "h0") else torch.float32
        assert found[name].dtype == kept, name
        assert (found[name].double() - wanted).norm() <= bound * wanted.norm(), name


@CELLS
@pytest.mark.parametrize("initial", [True, False])
@pytest.mark.parametrize("inputs", [None, 6])
def test_close_to_the_twin(cell, initial, inputs):
    for steps, batch in [(1, 1), (5, 1), (6, 3), (2, 16), (7, 20), (4, 33), (3, 48), (3, 130)]:
        check(cell, problem(cell, 70, steps, batch, initial=initial, inputs=inputs))


@CELLS
@pytest.mark.parametrize("lengths", LENGTHS[1:])
@pytest.mark.parametrize("inputs", [None, 6])
def test_sequences_of_different_lengths(cell, lengths, inputs):
    check(cell, problem(cell, 70, None, None, lengths=lengths, inputs=inputs))


@CELLS
@pytest.mark.parametrize("links", [0, 40])
def test_hardly_any_links(cell, links):
    check(cell, problem(cell, 30, 4, 5, links=links))


def projected(steps, batch, *, lengths=None, clip=math.inf):
    """The LSTM's arguments, of 70 units and 40 outputs."""
    arguments = problem("lstm", 70, steps, batch, lengths=lengths)
    recurrent, projection = random_pattern(280, 40, 3000), random_pattern(40, 70, 900)
    return arguments | {
        "h0": arguments["h0"][:, :40].contiguous(),
        "values": torch.randn(3000) * 0.2,
        "pattern": recurrent,
        "p_values": torch.randn(900) * 0.3,
        "p_pattern": projection,
        "cell_clip": clip,
    }


@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize("batch", [1, 20, 64])
def test_projections(lengths, batch):
    check("lstm", projected(5, batch, lengths=lengths))


def driven(cell, gates, *, steps, batch=3):
    """A cell of one unit without links, whose gates' arguments are given."""
    x = torch.tensor(gates).bfloat16().expand(steps, batch, -1).contiguous()
    pattern = random_pattern(len(gates), 1, 0)
    arguments = {"x": x, "h0": torch.zeros(batch, 1).bfloat16(), "bias": None}
    if cell == "lstm":
        arguments["c0"] = torch.linspace(0.5, 1.5, batch)[:, None]
    return arguments | {"values": torch.empty(0), "pattern": pattern}


@CELLS
@pytest.mark.parametrize("gate", [0.0, 3.0, 5.0, 8.0])
def test_gradients_over_many_steps_fade_as_they_should(cell, gate):
    """Gates near 1 are kept by their distance from it: in 8 bits they would all be 1."""
    gates = {"lstm": [-2.0, gate, 0.3, 1.0], "gru": [0.0, gate, 0.3], "mgu": [-gate, 0.3]}
    check(cell, driven(cell, gates[cell], steps=200))


def test_h_goes_on_unrounded():
    """Steps towards the candidate of less than half a unit in the last place of h add up."""
    arguments = driven("gru", [0.0, 7.0, 2.0], steps=3000)
    h, exact = ops.gru(**arguments)[-1], ops.gru_ref(**widened(arguments))[-1]
    torch.testing.assert_close(h.double(), exact, rtol=HALF, atol=0)
    rounded = arguments["h0"]
    for step in arguments["x"]:
        (rounded,) = ops.gru(**(arguments | {"x": step[None], "h0": rounded}))
    assert (rounded < 0.7 * exact).all()


@pytest.mark.parametrize("batch", [1, 20, 64])
def test_c_is_that_of_float32(batch):
    arguments = problem("lstm", 9, 12, batch, links=0)
    h, c_n = ops.lstm(**arguments)
    exact, expected = ops.lstm(**widened(arguments, torch.float32))
    assert c_n.dtype == torch.float32 and torch.equal(c_n, expected)
    assert torch.equal(h, exact.bfloat16())


@pytest.mark.parametrize("batch", [1, 20, 64])
def test_clipping_is_of_c_as_it_was(batch):
    """Of two c that bfloat16 cannot tell apart, only the clipped one loses its gradient."""
    clip = 0.3003
    c0 = torch.tensor([clip - 1e-4, clip + 1e-4, -clip + 1e-4, -clip - 1e-4])
    assert c0[:2].bfloat16().unique().numel() == 1
    x = torch.zeros(1, batch, 4, 4)
    x[:, :, 1] = 20.0  # f = 1, i g = 0
    pattern, c0 = random_pattern(16, 4, 0), c0.expand(batch, 4).contiguous().requires_grad_()
    h, c_n = ops.lstm(
        x.flatten(2).bfloat16(), activations(batch, 4), c0, None, c0[0, :0], pattern, cell_clip=clip
    )
    (found,) = torch.autograd.grad([h, c_n], c0, [torch.ones_like(h), torch.ones_like(c_n)])
    assert torch.equal(found != 0, torch.tensor([True, False, True, False]).expand(batch, 4))
    assert float(c_n.detach().abs().max()) == torch.tensor(clip)


@pytest.mark.parametrize("batch", [1, 5, 16, 20, 33, 48, 64, 100])
@pytest.mark.parametrize("steps", [1, 2, 12])
def test_the_weight_gradient_is_that_of_what_is_kept(steps, batch):
    """Products are exact: within float32's error in a sum of them."""
    arguments = problem("lstm", 30, steps, batch, initial=False)
    x, values = arguments["x"].requires_grad_(), arguments["values"].requires_grad_()
    h, _ = ops.lstm(**arguments)
    du, found = torch.autograd.grad(h, [x, values], activations(*h.shape))
    assert du.dtype == torch.bfloat16
    before = torch.cat([torch.zeros_like(h[:1]), h[:-1]]).detach()
    a, b = (each.double().flatten(0, 1).t() for each in (du, before))
    exact, terms = ops.sddmm(arguments["pattern"], a, b), a.shape[1]
    most = ops.sddmm(arguments["pattern"], a.abs(), b.abs())
    assert ((found - exact).abs() <= 2**-24 * terms * most).all()


@CELLS
@pytest.mark.parametrize("lengths", LENGTHS)
def test_what_is_kept(cell, lengths):
    """All of it takes half the memory, and tells the same as in float32."""
    operation = {"lstm": lstm_and_saved, "gru": GRU, "mgu": MGU}[cell]
    told = unprojected if cell == "lstm" else operation.reset_gates
    arguments = problem(cell, 30, 6, 20, lengths=lengths)
    h, *_, saved = operation(**arguments)
    *_, expected = operation(**widened(arguments, torch.float32))
    assert saved.dtype == h.dtype == torch.bfloat16 and saved.shape == expected.shape
    sizes = arguments["batch_sizes"]
    found, wanted = told(saved, sizes), told(expected, sizes)
    assert found.shape == wanted.shape and (found - wanted).norm() <= 2 * HALF * wanted.norm()


@CELLS
@pytest.mark.parametrize("inputs", [None, 20])
def test_threads(cell, inputs, assert_same_bits):
    arguments = problem(cell, 300, 5, 33, links=30_000, inputs=inputs)
    upstream = [torch.randn(5, 33, 300), torch.randn(33, 300)][: 2 if cell == "lstm" else 1]

    def computed():
        found = gradients(TWINS[cell][0], arguments, upstream)
        if inputs:
            del found["x"]  # the end of a product of torch's own
        return found

    assert_same_bits(computed)


def native_arguments(arguments):
    """Those of the forward operation, and of the backward one after the gradients and states."""
    given = arguments.get
    states, values = (given("h0"), given("c0")), arguments["values"]
    links = [*given("pattern"), *given("p_pattern", ())], given("p_values")
    structure = (*links, given("batch_sizes"), given("cell_clip"))
    inputs = (given("x"), given("w_input"), given("b_input"))
    x = None if given("w_input") is None else given("x")
    forward = (*inputs, *states, given("bias"), values, *structure, True)
    return forward, (x, *states, values, *structure, True, True, True)


@pytest.mark.parametrize("lengths", [None, [4, 2]])
@pytest.mark.parametrize(
    ("cell", "make"),
    [
        ("lstm", lambda lengths: problem("lstm", 9, 4, 2, inputs=2, lengths=lengths)),
        ("gru", lambda lengths: problem("gru", 9, 4, 2, inputs=2, lengths=lengths)),
        ("gru", lambda lengths: problem("gru", 9, 4, 2, initial=False, lengths=lengths)),
        ("mgu", lambda lengths: problem("mgu", 9, 4, 2, inputs=2, lengths=lengths)),
        ("lstm", lambda lengths: projected(4, 2, lengths=lengths, clip=0.4)),
    ],
)
def test_opcheck(cell, make, lengths):
    forward, backward = native_arguments(make(lengths))
    opcheck(getattr(native, f"{cell}_forward").default, forward)
    h, c_n, saved = getattr(native, f"{cell}_forward")(*forward)
    dc_n = torch.randn_like(c_n) if cell == "lstm" else None
    upstream = (torch.randn_like(h), dc_n)
    opcheck(getattr(native, f"{cell}_backward").default, (*upstream, h, saved, *backward))


@CELLS
def test_errors(cell):
    arguments = problem(cell, 9, 4, 3)
    operation = TWINS[cell][0]
    with pytest.raises(ValueError, match="expected h0 of dtype bfloat16, found float32"):
        operation(**(arguments | {"h0": torch.randn(3, 9)}))
    with pytest.raises(ValueError, match="expected x of dtype float64, found bfloat16"):
        operation(**(widened(arguments) | {"x": arguments["x"]}))
    with pytest.raises(ValueError, match="expected x of dtype float32, found float16"):
        operation(**(arguments | {"x": arguments["x"].half()}))
    if cell == "lstm":
        with pytest.raises(ValueError, match="expected c0 of dtype float32, found float64"):
            operation(**(arguments | {"c0": arguments["c0"].double()}))
