"""RNN and LSTM with layer normalisation over whole sequences, against their slow twins."""

import inspect
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck
from torch.library import opcheck

from sparse_engine import ops
from sparse_engine.ops import Norm
from sparse_engine.ops._native import native
from sparse_engine.testing import (
    as_tuple,
    assert_scaled_sums,
    batch_sizes_of,
    is_real,
    pattern_of,
    patterns,
    random_pattern,
    real_dtypes,
    sizes,
    square_patterns,
    stacked,
)

TWINS = {
    "normed_rnn": (ops.normed_rnn, ops.normed_rnn_ref),
    "normed_lstm": (ops.normed_lstm, ops.normed_lstm_ref),
}
GATES = {"normed_rnn": 1, "normed_lstm": 4}
CELLS = pytest.mark.parametrize("cell", TWINS)


def problem(
    cell, pattern, steps, batch, dtype=torch.float64, *, initial=True, affine=True, lengths=None
):
    """The arguments of an operation, by name; ``pattern`` is that of one gate.

    With ``lengths``, from long to short, there are so many sequences of so many steps. The norms'
    eps are large enough for sums that cancel to be no larger than others.
    """
    pattern, hidden = stacked(pattern, GATES[cell]), pattern.shape[0]
    rows = GATES[cell] * hidden

    def numbers(*shape):
        return torch.randn(shape, dtype=dtype)

    def norm(features, eps):
        return Norm(numbers(features), numbers(features), eps) if affine else Norm(eps=eps)

    outer, sizes = (steps, batch), None
    if lengths is not None:
        sizes = batch_sizes_of(lengths)
        outer, batch = (sum(lengths),), len(lengths)
    arguments = {"x": numbers(*outer, rows)}
    for name in ("h0", "c0") if cell == "normed_lstm" else ("h0",):
        arguments[name] = numbers(batch, hidden) if initial else None
    arguments["values"] = numbers(pattern.nnz) * (rows / max(1, pattern.nnz)) ** 0.5
    arguments |= {"pattern": pattern, "norm": norm(rows, 0.1)}
    if cell == "normed_lstm":
        arguments["c_norm"] = norm(hidden, 0.2)
    return arguments | ({} if sizes is None else {"batch_sizes": sizes})


def leaves_of(arguments):
    """All tensors of real numbers, by name: also those inside the norms."""
    flat = dict(arguments)
    for name in ("norm", "c_norm"):
        gain, bias, _ = flat.pop(name, Norm())
        flat |= {f"{name}.gain": gain, f"{name}.bias": bias}
    return {name: each for name, each in flat.items() if is_real(each)}


def with_leaves(arguments, leaves):
    """The same arguments with other tensors, as :func:`leaves_of` names them."""
    changed = dict(arguments)
    for name, leaf in leaves.items():
        norm, _, field = name.partition(".")
        changed[norm] = changed[norm]._replace(**{field: leaf}) if field else leaf
    return changed


def native_arguments(cell, arguments):
    """Those of the native forward operation, but for the last."""
    norm, c_norm = arguments["norm"], arguments.get("c_norm")
    rest = (arguments["values"], arguments["pattern"], arguments.get("batch_sizes"))
    if cell == "normed_rnn":
        return arguments["x"], arguments["h0"], *norm[:2], *rest, norm.eps, 0
    states = arguments["h0"], arguments["c0"]
    clip = arguments.get("cell_clip", math.inf)
    return arguments["x"], *states, *norm[:2], *c_norm[:2], *rest, norm.eps, c_norm.eps, clip


def upstream_of(arguments):
    """Random gradients of h and of the last c."""
    x, hidden = arguments["x"], arguments["pattern"].shape[1]
    sizes = arguments.get("batch_sizes")
    batch = x.shape[1] if sizes is None else int(sizes[0])
    return [torch.randn(shape).to(x) for shape in ((*x.shape[:-1], hidden), (batch, hidden))]


def gradients(function, arguments, upstream, dtype):
    """The results, and the gradients of all real arguments, by name."""
    leaves = {
        name: each.detach().to(dtype).requires_grad_()
        for name, each in leaves_of(arguments).items()
    }
    results = as_tuple(function(**with_leaves(arguments, leaves)))
    upstream = [each.to(dtype) for each in upstream[: len(results)]]
    grads = torch.autograd.grad(results, [*leaves.values()], upstream)
    return dict(enumerate(results)) | dict(zip(leaves, grads, strict=True))


def check(cell, arguments):
    """Relative to the largest entry of each, against the slow twin in double precision."""
    operation, twin = TWINS[cell]
    x, pattern, upstream = arguments["x"], arguments["pattern"], upstream_of(arguments)
    found = gradients(operation, arguments, upstream, x.dtype)
    exact = gradients(twin, arguments, upstream, torch.float64)
    sizes = arguments.get("batch_sizes")
    steps = x.shape[0] if sizes is None else len(sizes)
    # Every number of a step depends on all of the step before.
    fan = int(pattern.crow.diff().max()) + int(pattern.t_crow.diff().max()) + sum(pattern.shape)
    for name, wanted in exact.items():
        summed = name not in (0, 1, "x", "h0", "c0")
        terms = fan * steps * (len(upstream[1]) if summed else 1)
        assert_scaled_sums(found[name], wanted, terms)


SQUARE = square_patterns()


@CELLS
@pytest.mark.parametrize("name", SQUARE)
@pytest.mark.parametrize(("initial", "affine"), [(True, True), (False, True), (True, False)])
def test_structures(cell, name, initial, affine):
    for steps, batch in [(1, 1), (5, 1), (2, 3), (6, 12), (3, 16), (5, 33), (3, 130), (2, 20)]:
        for dtype in (torch.float32, torch.float64):
            options = {"initial": initial, "affine": affine}
            check(cell, problem(cell, SQUARE[name], steps, batch, dtype, **options))


LENGTHS = {"equal": [4] * 5, "one left": [9] + [2] * 40, "one": [3]}
LENGTHS |= {"panels end": [7] * 3 + [5] * 70 + [1] * 80, "all differ": [*range(20, 0, -1)]}


@CELLS
@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
@pytest.mark.parametrize("initial", [True, False])
def test_sequences_of_different_lengths(cell, lengths, initial):
    for name in ("ordinary", "uneven"):
        for dtype in (torch.float32, torch.float64):
            options = {"initial": initial, "lengths": lengths}
            check(cell, problem(cell, SQUARE[name], None, None, dtype, **options))


@CELLS
@given(
    pattern=patterns(square=True),
    steps=st.integers(1, 8),
    batch=st.one_of(sizes(), st.integers(1, 200)),
    dtype=real_dtypes(),
    initial=st.booleans(),
    affine=st.booleans(),
)
def test_any_structure(cell, pattern, steps, batch, dtype, initial, affine):
    options = {"initial": initial, "affine": affine}
    check(cell, problem(cell, pattern, steps, batch, dtype, **options))


@pytest.mark.parametrize("batch", [1, 20])
@pytest.mark.parametrize("clip", [0.05, 0.4])
def test_options(batch, clip):
    check("normed_lstm", problem("normed_lstm", SQUARE["ordinary"], 6, batch) | {"cell_clip": clip})
    arguments = problem("normed_rnn", SQUARE["ordinary"], 6, batch)
    check("normed_rnn", arguments | {"nonlinearity": "relu"})


def test_two_units_in_numbers():
    """Sums of 3 and 1 are one deviation above and below their mean."""
    pattern = pattern_of(torch.ones(2, 1, dtype=torch.bool).expand(2, 2))
    values = torch.tensor([3.0, 0.0, 1.0, 0.0], dtype=torch.float64)
    x, h0 = values.new_tensor([[[0.5, 0.25]]]), values.new_tensor([[1.0, 0.0]])
    norm = Norm(values.new_tensor([2.0, 2.0]), values.new_tensor([0.0, 1.0]), eps=3.0)
    h = ops.normed_rnn(x, h0, values, pattern, norm, nonlinearity="relu")
    torch.testing.assert_close(h.flatten(), values.new_tensor([0.5 + 1.0, 0.25 - 1.0 + 1.0]))


@CELLS
@pytest.mark.parametrize("batch", [1, 20])
def test_a_mean_far_from_zero_costs_no_digits(cell, batch):
    """The variance is not a small difference of large numbers."""
    arguments = problem(cell, SQUARE["all"], 1, batch, torch.float32)
    rows, hidden = arguments["pattern"].shape
    arguments["h0"] = torch.ones(batch, hidden)
    arguments["values"] = (1024 + torch.randint(-8, 9, (rows, 1))).float().repeat(1, hidden)
    arguments["values"] = arguments["values"].flatten() / hidden
    found = as_tuple(TWINS[cell][0](**arguments))[0]
    leaves = {name: leaf.double() for name, leaf in leaves_of(arguments).items()}
    exact = as_tuple(TWINS[cell][1](**with_leaves(arguments, leaves)))[0]
    torch.testing.assert_close(found.double(), exact, rtol=1e-4, atol=1e-4)


@CELLS
@pytest.mark.parametrize(("initial", "affine"), [(True, True), (True, False), (False, True)])
@pytest.mark.parametrize(("steps", "batch"), [(1, 1), (3, 1), (3, 3)])
@pytest.mark.parametrize("lengths", [None, [3, 3, 1]])
def test_derivatives(cell, initial, affine, steps, batch, lengths):
    mask = torch.eye(5, dtype=torch.bool).roll(1, 0)
    mask[2], mask[4] = True, False
    options = {"initial": initial, "affine": affine, "lengths": lengths}
    arguments = problem(cell, pattern_of(mask), steps, batch, **options)
    leaves = leaves_of(arguments)

    def run(*own):
        return TWINS[cell][0](**with_leaves(arguments, dict(zip(leaves, own, strict=True))))

    assert gradcheck(run, [leaf.requires_grad_() for leaf in leaves.values()])


@CELLS
@pytest.mark.parametrize("batch", [1, 40])
def test_one_gradient_alone_has_the_same_bits(cell, batch):
    arguments = problem(cell, SQUARE["ordinary"], 5, batch, torch.float32)
    upstream = upstream_of(arguments)
    every = gradients(TWINS[cell][0], arguments, upstream, torch.float32)
    for name, value in leaves_of(arguments).items():
        leaf = value.clone().requires_grad_()
        results = as_tuple(TWINS[cell][0](**with_leaves(arguments, {name: leaf})))
        (grad,) = torch.autograd.grad(results, leaf, upstream[: len(results)])
        assert torch.equal(grad, every[name]), name


def test_gradients_of_the_last_c_alone():
    arguments = problem("normed_lstm", SQUARE["ordinary"], 6, 3)
    found, wanted = [], []
    for function, grads in ((ops.normed_lstm, found), (ops.normed_lstm_ref, wanted)):
        leaves = {name: arguments[name].clone().requires_grad_() for name in ("x", "c0", "values")}
        last = function(**with_leaves(arguments, leaves))[1]
        grads += torch.autograd.grad(last.sum(), [*leaves.values()])
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


@CELLS
def test_nothing_is_kept_without_gradients(cell):
    arguments = problem(cell, SQUARE["ordinary"], 5, 20, torch.float32)
    recorded = as_tuple(TWINS[cell][0](**arguments))
    with torch.no_grad():
        for one, other in zip(as_tuple(TWINS[cell][0](**arguments)), recorded, strict=True):
            assert torch.equal(one, other)
        forward = getattr(native, f"{cell}_forward")
        *_, saved, moments = forward(*native_arguments(cell, arguments), False)
        assert saved.numel() == moments.numel() == 0


@CELLS
@pytest.mark.parametrize("present", [True, False])
@pytest.mark.parametrize("lengths", [None, [4, 2]])
def test_opcheck(cell, present, lengths):
    options = {"initial": present, "affine": present, "lengths": lengths}
    arguments = problem(cell, random_pattern(9, 9, 25), 4, 3, **options)
    forward = getattr(native, f"{cell}_forward").default
    leaves = {name: leaf.requires_grad_(present) for name, leaf in leaves_of(arguments).items()}
    opcheck(forward, (*native_arguments(cell, with_leaves(arguments, leaves)), present))
    leaves = {name: leaf.detach() for name, leaf in leaves.items()}
    arguments = with_leaves(arguments, leaves)
    results = forward(*native_arguments(cell, arguments), True)
    dh = torch.randn_like(results[0])
    structure = (arguments["values"], arguments["pattern"], arguments.get("batch_sizes"))
    gain = arguments["norm"].gain
    if cell == "normed_rnn":
        inputs = (dh, *results, arguments["h0"], gain, *structure, 0)
    else:
        h, c_n, *kept = results
        last = torch.randn_like(c_n) if present else None
        before = arguments["x"], arguments["h0"], arguments["c0"]
        norms = *arguments["norm"][:2], *arguments["c_norm"][:2]
        inputs = (dh, last, h, *kept, *before, *norms, *structure, math.inf)
    opcheck(getattr(native, f"{cell}_backward").default, (*inputs, present, present))


@CELLS
@pytest.mark.parametrize("lengths", [None, [4, 4, 1]])
def test_compiles_without_a_graph_break(cell, lengths):
    arguments = problem(cell, SQUARE["ordinary"], 4, 3, lengths=lengths)
    upstream = upstream_of(arguments)
    compiled = torch.compile(TWINS[cell][0], fullgraph=True, backend="aot_eager")
    found = gradients(compiled, arguments, upstream, torch.float64)
    for name, wanted in gradients(TWINS[cell][0], arguments, upstream, torch.float64).items():
        assert torch.equal(found[name], wanted), name


@CELLS
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("batch", [1, 7, 100])
def test_threads(cell, dtype, batch, assert_same_bits):
    # More than 100,000 links: three threads run even for a batch of one.
    pattern = random_pattern(400, 400, 110_000 // GATES[cell])
    arguments = problem(cell, pattern, 3, batch, dtype)
    assert arguments["pattern"].nnz > 100_000
    upstream = upstream_of(arguments)
    assert_same_bits(lambda: gradients(TWINS[cell][0], arguments, upstream, dtype))


@CELLS
def test_threads_on_sequences_of_different_lengths(cell, assert_same_bits):
    lengths = [9] * 20 + [8] * 30 + [5] * 40 + [1] * 10
    pattern = random_pattern(300, 300, 30_000)
    arguments = problem(cell, pattern, None, None, torch.float32, lengths=lengths)
    upstream = upstream_of(arguments)
    assert_same_bits(lambda: gradients(TWINS[cell][0], arguments, upstream, torch.float32))


@CELLS
def test_a_second_derivative_is_refused_clearly(cell):
    arguments = problem(cell, random_pattern(4, 4, 5), 2, 2)
    operation, twin = TWINS[cell]
    values = arguments["values"].requires_grad_()
    results = as_tuple(operation(**arguments))
    (first,) = torch.autograd.grad(results[0].sum(), values, create_graph=True)
    with pytest.raises(RuntimeError, match=f"differentiated once.*ops.{twin.__name__}"):
        first.sum().backward()


@CELLS
@pytest.mark.parametrize("batch", [1, 20])
def test_a_missing_number_stays_in_its_column(cell, batch):
    arguments = problem(cell, SQUARE["ordinary"], 3, batch, torch.float32)
    arguments["x"][1, 0, 5] = torch.nan
    arguments["h0"][-1, 3] = torch.inf
    operation, twin = TWINS[cell]
    for one, other in zip(
        as_tuple(operation(**arguments)), as_tuple(twin(**arguments)), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4, equal_nan=True)


CHANGES = [
    ({"x": torch.randn(4, 3, 8)}, r"x of shape \[steps, batch, {rows}\], found \[4, 3, 8\]"),
    ({"x": torch.randn(4, 9)}, r"x of shape \[steps, batch, {rows}\], found \[4, 9\]"),
    ({"h0": torch.randn(2, 9)}, r"h0 of shape \[3, 9\], found \[2, 9\]"),
    ({"h0": torch.randn(3, 9).double()}, "h0 of dtype float32, found float64"),
    ({"norm": Norm(torch.randn(8))}, r"gain of shape \[{rows}\], found \[8\]"),
    ({"norm": Norm(bias=torch.randn(8))}, r"bias of shape \[{rows}\], found \[8\]"),
    ({"norm": Norm(torch.randn(2).double())}, "gain of dtype float32, found float64"),
    ({"norm": Norm(eps=-1.0)}, "eps of at least 0, found -1"),
    ({"norm": Norm(eps=math.nan)}, "eps of at least 0, found -?nan"),
    ({"values": torch.randn(24)}, r"values of shape \[\d+\], found \[24\]"),
    ({"pattern": random_pattern(18, 9, 25)}, "weight of {gates}, {rows} x 9, found 18 x 9"),
]


@CELLS
@pytest.mark.parametrize(("change", "message"), CHANGES)
def test_errors(cell, change, message):
    arguments = problem(cell, random_pattern(9, 9, 25), 4, 3, torch.float32) | change
    gates = {1: "1 gate", 4: "4 gates"}[GATES[cell]]
    message = message.replace("{rows}", str(9 * GATES[cell])).replace("{gates}", gates)
    with pytest.raises(ValueError, match=message):
        TWINS[cell][0](**arguments)


@CELLS
def test_no_time_step(cell):
    arguments = problem(cell, random_pattern(9, 9, 25), 4, 3)
    with pytest.raises(ValueError, match="x of at least one time step"):
        TWINS[cell][0](**(arguments | {"x": arguments["x"][:0]}))


OF_THE_LSTM = [
    ({"c0": None}, "both h0 and c0 or neither, found one"),
    ({"c0": torch.randn(3, 8).double()}, r"c0 of shape \[3, 9\], found \[3, 8\]"),
    ({"c_norm": Norm(torch.randn(8).double())}, r"c_gain of shape \[9\], found \[8\]"),
    ({"c_norm": Norm(bias=torch.randn(8).double())}, r"c_bias of shape \[9\], found \[8\]"),
    ({"cell_clip": -1}, "expected cell_clip of at least 0, found -1"),
]


@pytest.mark.parametrize(("change", "message"), OF_THE_LSTM)
def test_errors_of_the_lstm(change, message):
    arguments = problem("normed_lstm", random_pattern(9, 9, 25), 4, 3) | change
    with pytest.raises(ValueError, match=message):
        ops.normed_lstm(**arguments)


def test_an_unknown_nonlinearity():
    arguments = problem("normed_rnn", random_pattern(9, 9, 25), 4, 3)
    with pytest.raises(ValueError, match="expected nonlinearity 'tanh' or 'relu', found 'sin'"):
        ops.normed_rnn(**arguments, nonlinearity="sin")


@CELLS
def test_twins_take_the_same_arguments(cell):
    operation, twin = TWINS[cell]
    assert inspect.signature(operation) == inspect.signature(twin)
