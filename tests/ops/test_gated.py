"""Cells with gates over whole sequences, against their reference implementations."""

import inspect

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck
from torch.library import opcheck

from sparse_engine import ops
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

TWINS = {"lstm": (ops.lstm, ops.lstm_ref), "gru": (ops.gru, ops.gru_ref)}
TWINS |= {"mgu": (ops.mgu, ops.mgu_ref)}
GATES = {"lstm": 4, "gru": 3, "mgu": 2}
# Which of them is the candidate.
CANDIDATE = {"lstm": 2, "gru": 2, "mgu": 1}
CELLS = pytest.mark.parametrize("cell", TWINS)


def problem(
    cell,
    pattern,
    steps,
    batch,
    dtype=torch.float64,
    *,
    initial=True,
    bias=True,
    inputs=None,
    lengths=None,
):
    """The arguments of an operation, by name; ``pattern`` is that of one gate.

    With ``lengths``, from long to short, there are so many sequences of so many steps.
    """
    pattern, hidden = stacked(pattern, GATES[cell]), pattern.shape[0]
    rows = GATES[cell] * hidden

    def numbers(*shape):
        return torch.randn(shape, dtype=dtype)

    outer, sizes = (steps, batch), None
    if lengths is not None:
        sizes = batch_sizes_of(lengths)
        outer, batch = (sum(lengths),), len(lengths)
    arguments = {"x": numbers(*outer, rows if inputs is None else inputs)}
    for name in ("h0", "c0") if cell == "lstm" else ("h0",):
        arguments[name] = numbers(batch, hidden) if initial else None
    arguments["bias"] = numbers(rows) if bias else None
    arguments["values"] = numbers(pattern.nnz) * (rows / max(1, pattern.nnz)) ** 0.5
    if inputs is not None:
        arguments["w_input"] = numbers(rows, inputs) * max(1, inputs) ** -0.5
        if cell != "lstm":
            arguments["b_input"] = numbers(rows) if bias else None
    return arguments | {"pattern": pattern} | ({} if sizes is None else {"batch_sizes": sizes})


def structure(arguments):
    """The native operations' arguments after the values."""
    p_values, p_pattern = arguments.get("projection", (None, ()))
    options = arguments.get("batch_sizes"), arguments.get("cell_clip")
    return [*arguments["pattern"], *p_pattern], p_values, *options


def native_arguments(arguments):
    """Those of the native forward operation, but for the last."""
    names = ("x", "w_input", "b_input", "h0", "c0", "bias", "values")
    return *(arguments.get(name) for name in names), *structure(arguments)


def gradients(function, arguments, upstream, dtype):
    """The results, and the gradients of all tensors, by name."""
    own = {
        name: value.detach().to(dtype).requires_grad_() if is_real(value) else value
        for name, value in arguments.items()
    }
    leaves = {name: value for name, value in own.items() if is_real(value)}
    results = as_tuple(function(**own))
    upstream = [each.to(dtype) for each in upstream[: len(results)]]
    grads = torch.autograd.grad(results, [*leaves.values()], upstream)
    return dict(enumerate(results)) | dict(zip(leaves, grads, strict=True))


def check(cell, arguments):
    """Relative to the largest entry of each, against the slow twin in double precision."""
    operation, twin = TWINS[cell]
    x, pattern = arguments["x"], arguments["pattern"]
    sizes, hidden = arguments.get("batch_sizes"), pattern.shape[1]
    steps, batch = x.shape[:2] if sizes is None else (len(sizes), int(sizes[0]))
    shapes = [(*x.shape[:-1], hidden), (batch, hidden)]
    upstream = [torch.randn(shape).to(x.dtype) for shape in shapes]
    found = gradients(operation, arguments, upstream, x.dtype)
    exact = gradients(twin, arguments, upstream, torch.float64)
    fan = int(pattern.crow.diff().max()) + int(pattern.t_crow.diff().max()) + 1
    if "w_input" in arguments:
        fan += x.shape[-1]
    for name, wanted in exact.items():
        summed = name in ("bias", "values", "w_input", "b_input")
        terms = fan * steps * (batch if summed else 1)
        assert_scaled_sums(found[name], wanted, terms)


SQUARE = square_patterns()


@CELLS
@pytest.mark.parametrize("name", SQUARE)
@pytest.mark.parametrize("initial", [True, False])
def test_structures(cell, name, initial):
    shapes = [(1, 1), (5, 1), (2, 3), (12, 4), (9, 12), (3, 16), (2, 20), (5, 33), (4, 130)]
    for steps, batch in shapes:
        for dtype in (torch.float32, torch.float64):
            check(cell, problem(cell, SQUARE[name], steps, batch, dtype, initial=initial))


@CELLS
@pytest.mark.parametrize("inputs", [1, 15, 16, 17, 64, 130])
def test_dense_input(cell, inputs):
    for steps, batch in [(1, 1), (5, 2), (3, 7), (4, 20), (2, 33), (3, 130)]:
        for dtype in (torch.float32, torch.float64):
            for bias in (True, False):
                arguments = problem(
                    cell, SQUARE["wide"], steps, batch, dtype, inputs=inputs, bias=bias
                )
                check(cell, arguments)


LENGTHS = {"equal": [4] * 5, "one left": [9] + [2] * 40, "one": [3]}
LENGTHS |= {"panels end": [7] * 3 + [5] * 70 + [1] * 80, "all differ": [*range(33, 0, -1)]}


@CELLS
@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
@pytest.mark.parametrize("initial", [True, False])
@pytest.mark.parametrize("inputs", [None, 5])
def test_sequences_of_different_lengths(cell, lengths, initial, inputs):
    options = {"initial": initial, "inputs": inputs, "lengths": lengths}
    for name in ("ordinary", "uneven"):
        for dtype in (torch.float32, torch.float64):
            check(cell, problem(cell, SQUARE[name], None, None, dtype, **options))


@CELLS
@given(
    pattern=patterns(square=True),
    steps=st.integers(1, 12),
    batch=st.one_of(sizes(), st.integers(1, 200)),
    dtype=real_dtypes(),
    initial=st.booleans(),
    bias=st.booleans(),
    inputs=st.one_of(st.none(), sizes()),
)
def test_any_structure(cell, pattern, steps, batch, dtype, initial, bias, inputs):
    options = {"initial": initial, "bias": bias, "inputs": inputs}
    check(cell, problem(cell, pattern, steps, batch, dtype, **options))


@CELLS
def test_one_unit_at_a_time_in_numbers(cell):
    """A unit without links, by hand: every gate is sigmoid(0) or tanh(x)."""
    nothing = stacked(random_pattern(1, 1, 0), GATES[cell])
    x = torch.zeros(2, 1, GATES[cell], dtype=torch.float64)
    x[:, 0, CANDIDATE[cell]] = 1.0
    tanh = torch.tensor(1.0, dtype=torch.float64).tanh()
    if cell == "lstm":
        h, c_n = ops.lstm(x, None, None, None, x.new_empty(0), nothing)
        first, second = tanh / 2, tanh / 2 + tanh / 4
        torch.testing.assert_close(h.flatten(), torch.stack([first, second]).tanh() / 2)
        torch.testing.assert_close(c_n.flatten(), second[None])
    else:
        h = TWINS[cell][0](x, None, None, x.new_empty(0), nothing)
        torch.testing.assert_close(h.flatten(), torch.stack([tanh / 2, tanh / 2 + tanh / 4]))


@CELLS
@pytest.mark.parametrize(("initial", "bias"), [(True, True), (True, False), (False, True)])
@pytest.mark.parametrize(("steps", "batch"), [(1, 1), (4, 1), (3, 3)])
@pytest.mark.parametrize("inputs", [None, 2])
@pytest.mark.parametrize("lengths", [None, [3, 3, 1]])
def test_derivatives(cell, initial, bias, steps, batch, inputs, lengths):
    mask = torch.eye(5, dtype=torch.bool).roll(1, 0)
    mask[2], mask[4] = True, False
    options = {"initial": initial, "bias": bias, "inputs": inputs, "lengths": lengths}
    arguments = problem(cell, pattern_of(mask), steps, batch, **options)
    names = [name for name, value in arguments.items() if is_real(value)]

    def run(*leaves):
        return TWINS[cell][0](**(arguments | dict(zip(names, leaves, strict=True))))

    assert gradcheck(run, [arguments[name].requires_grad_() for name in names])


@CELLS
@pytest.mark.parametrize("batch", [1, 3, 40])
@pytest.mark.parametrize("inputs", [None, 6])
def test_one_gradient_alone_has_the_same_bits(cell, batch, inputs):
    arguments = problem(cell, SQUARE["ordinary"], 5, batch, torch.float32, inputs=inputs)
    upstream = [torch.randn(5, batch, 33), torch.randn(batch, 33)]
    every = gradients(TWINS[cell][0], arguments, upstream, torch.float32)
    for name, value in arguments.items():
        if not is_real(value):
            continue
        leaf = value.clone().requires_grad_()
        results = as_tuple(TWINS[cell][0](**(arguments | {name: leaf})))
        (grad,) = torch.autograd.grad(results, leaf, upstream[: len(results)])
        assert torch.equal(grad, every[name]), name


def test_gradients_of_the_last_c_alone():
    arguments = problem("lstm", SQUARE["ordinary"], 6, 3)
    found, wanted = [], []
    for function, grads in ((ops.lstm, found), (ops.lstm_ref, wanted)):
        leaves = [arguments[name].clone().requires_grad_() for name in ("x", "c0", "values")]
        own = arguments | dict(zip(("x", "c0", "values"), leaves, strict=True))
        grads += torch.autograd.grad(function(**own)[1].sum(), leaves)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


@CELLS
@pytest.mark.parametrize("batch", [1, 20])
def test_nothing_is_kept_without_gradients(cell, batch):
    arguments = problem(cell, SQUARE["ordinary"], 5, batch, torch.float32)
    recorded = as_tuple(TWINS[cell][0](**arguments))
    with torch.no_grad():
        for one, other in zip(as_tuple(TWINS[cell][0](**arguments)), recorded, strict=True):
            assert torch.equal(one, other)
        forward = getattr(native, f"{cell}_forward")
        *_, saved = forward(*native_arguments(arguments), False)
        assert saved.numel() == 0


@CELLS
@pytest.mark.parametrize("initial", [True, False])
@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize(("inputs", "lengths"), [(None, None), (2, None), (2, [4, 2])])
def test_opcheck_forward(cell, initial, keep, inputs, lengths):
    options = {"initial": initial, "inputs": inputs, "lengths": lengths}
    arguments = problem(cell, random_pattern(9, 9, 25), 4, 3, **options)
    for value in arguments.values():
        if is_real(value):
            value.requires_grad_(keep)
    operation = getattr(native, f"{cell}_forward").default
    opcheck(operation, (*native_arguments(arguments), keep))


@CELLS
@pytest.mark.parametrize("initial", [True, False])
@pytest.mark.parametrize("wanted", [True, False])
@pytest.mark.parametrize(("inputs", "lengths"), [(None, None), (2, None), (2, [4, 2, 1])])
def test_opcheck_backward(cell, initial, wanted, inputs, lengths):
    options = {"initial": initial, "inputs": inputs, "lengths": lengths}
    arguments = problem(cell, random_pattern(9, 9, 25), 4, 3, **options)
    forward = getattr(native, f"{cell}_forward")
    h, _, saved = forward(*native_arguments(arguments), True)
    last = torch.randn(3, 9, dtype=h.dtype) if initial and cell == "lstm" else None
    states = [arguments.get(name) for name in ("h0", "c0")]
    x = arguments["x"] if inputs and wanted else None
    given = (torch.randn_like(h), last, h, saved, x, *states, arguments["values"])
    operation = getattr(native, f"{cell}_backward").default
    opcheck(operation, (*given, *structure(arguments), wanted, wanted, wanted))


def projected(pattern, steps, batch, outputs, **options):
    """A problem for the LSTM with a projection and a clip, and its real arguments by name."""
    arguments = problem("lstm", pattern, steps, batch, **options)
    hidden, x = pattern.shape[0], arguments["x"]
    recurrent = random_pattern(4 * hidden, outputs, 2 * hidden * outputs)
    projection = random_pattern(outputs, hidden, hidden * outputs // 2, seed=1)
    batch = arguments["c0"].shape[0]
    arguments |= {"h0": torch.randn(batch, outputs).to(x), "pattern": recurrent, "cell_clip": 0.4}
    arguments["values"] = torch.randn(recurrent.nnz).to(x)
    arguments["projection"] = (torch.randn(projection.nnz).to(x), projection)
    return arguments


def with_projection(function, p_values, arguments):
    _, pattern = arguments["projection"]
    return function(**(arguments | {"projection": (p_values, pattern)}))


@pytest.mark.parametrize("lengths", [None, [4, 4, 1]])
@pytest.mark.parametrize("outputs", [1, 3])
def test_derivatives_of_a_projection(lengths, outputs):
    arguments = projected(random_pattern(5, 5, 9), 3, 2, outputs, lengths=lengths)
    names = [name for name, value in arguments.items() if is_real(value)]

    def run(p_values, *leaves):
        own = arguments | dict(zip(names, leaves, strict=True))
        return with_projection(ops.lstm, p_values, own)

    leaves = [arguments["projection"][0], *(arguments[name] for name in names)]
    assert gradcheck(run, [leaf.requires_grad_() for leaf in leaves])


@pytest.mark.parametrize("lengths", [None, [7] * 3 + [5] * 70 + [1] * 80])
@pytest.mark.parametrize("batch", [1, 20, 100])
def test_a_projection_equals_its_twin(lengths, batch):
    arguments = projected(random_pattern(33, 33, 99), 6, batch, 20, lengths=lengths)
    found, wanted = [], []
    for function, to in ((ops.lstm, found), (ops.lstm_ref, wanted)):
        own = {
            name: value.clone().requires_grad_() if is_real(value) else value
            for name, value in arguments.items()
        }
        p_values = arguments["projection"][0].clone().requires_grad_()
        h, c_n = with_projection(function, p_values, own)
        leaves = [p_values, *(value for value in own.values() if is_real(value))]
        to += [h, c_n, *torch.autograd.grad(h.sin().sum() + c_n.cos().sum(), leaves)]
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("lengths", [None, [4, 2]])
def test_opcheck_of_a_projection(lengths):
    arguments = projected(random_pattern(9, 9, 25), 4, 2, 5, inputs=2, lengths=lengths)
    given = native_arguments(arguments)
    opcheck(native.lstm_forward.default, (*given, True))
    h, c_n, saved = native.lstm_forward(*given, True)
    states = (arguments["x"], arguments["h0"], arguments["c0"], arguments["values"])
    backward = (torch.randn_like(h), torch.randn_like(c_n), h, saved, *states)
    opcheck(native.lstm_backward.default, (*backward, *structure(arguments), True, True, True))


def test_a_projection_that_does_not_fit():
    arguments = projected(random_pattern(9, 9, 25), 4, 3, 5)
    other = random_pattern(4, 9, 10)
    message = "recurrent weight of 4 gates, 36 x 4, found 36 x 5"
    with pytest.raises(ValueError, match=message):
        ops.lstm(**(arguments | {"projection": (torch.randn(10).double(), other)}))
    values, pattern = arguments["projection"]
    with pytest.raises(ValueError, match=r"projection_values of shape \[22\], found \[21\]"):
        ops.lstm(**(arguments | {"projection": (values[1:], pattern)}))
    with pytest.raises(ValueError, match="expected cell_clip of at least 0, found -1"):
        ops.lstm(**(arguments | {"cell_clip": -1}))


@CELLS
def test_compiles_without_a_graph_break(cell):
    arguments = problem(cell, SQUARE["ordinary"], 4, 3)
    upstream = [torch.randn(4, 3, 33, dtype=torch.float64), torch.randn(3, 33).double()]
    compiled = torch.compile(TWINS[cell][0], fullgraph=True, backend="aot_eager")
    found = gradients(compiled, arguments, upstream, torch.float64)
    for name, wanted in gradients(TWINS[cell][0], arguments, upstream, torch.float64).items():
        assert torch.equal(found[name], wanted), name


@CELLS
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("batch", [1, 2, 7, 19, 100])
@pytest.mark.parametrize("inputs", [None, 20])
def test_threads(cell, dtype, batch, inputs, assert_same_bits):
    arguments = problem(cell, random_pattern(300, 300, 30_000), 5, batch, dtype, inputs=inputs)
    upstream = [torch.randn(5, batch, 300), torch.randn(batch, 300)]

    def computed():
        found = gradients(TWINS[cell][0], arguments, upstream, dtype)
        if inputs:
            del found["x"]  # the end of a product of torch's own
        return found

    assert_same_bits(computed)


@CELLS
def test_threads_on_sequences_of_different_lengths(cell, assert_same_bits):
    lengths = [9] * 20 + [8] * 30 + [5] * 40 + [1] * 10
    pattern = random_pattern(300, 300, 30_000)
    arguments = problem(cell, pattern, None, None, torch.float32, lengths=lengths)
    upstream = [torch.randn(sum(lengths), 300), torch.randn(100, 300)]
    assert_same_bits(lambda: gradients(TWINS[cell][0], arguments, upstream, torch.float32))


@CELLS
def test_a_second_derivative_is_refused_clearly(cell):
    arguments = problem(cell, random_pattern(4, 4, 5), 2, 2)
    operation, twin = TWINS[cell]
    values = arguments["values"].requires_grad_()
    (first,) = torch.autograd.grad(
        as_tuple(operation(**arguments))[0].sum(), values, create_graph=True
    )
    with pytest.raises(RuntimeError, match=f"differentiated once.*ops.{twin.__name__}"):
        first.sum().backward()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("batch", [1, 2, 20])
def test_sigmoid_is_accurate_everywhere(dtype, batch):
    """A GRU's unit that was 1, whose candidate is 0, is its update gate."""
    most = 87 if dtype == torch.float32 else 700
    points = torch.cat([torch.linspace(-most, most, 4001), torch.logspace(-30, 1, 500)]).to(dtype)
    points = torch.cat([points, -points[4001:]])
    units = points.numel()
    x = torch.zeros(1, batch, 3, units, dtype=dtype)
    x[:, :, 1] = points
    empty = random_pattern(3 * units, units, 0)
    h = ops.gru(x.flatten(2), torch.ones(batch, units, dtype=dtype), None, points[:0], empty)
    exact = torch.sigmoid(points.double())
    error = (h[0].double() - exact).abs() / exact
    # tanh(0) = 0 adds nothing.
    assert error.max() < 4 * torch.finfo(dtype).eps


@CELLS
@pytest.mark.parametrize("batch", [1, 20])
def test_infinite_and_missing_numbers(cell, batch):
    units = 4
    x = torch.zeros(1, batch, GATES[cell], units)
    x[:, :, 0] = torch.tensor([torch.inf, -torch.inf, torch.nan, 0.0])
    x[:, :, CANDIDATE[cell]] = 1.0
    arguments = problem(cell, random_pattern(units, units, 0), 1, batch, torch.float32)
    arguments |= {"x": x.flatten(2), "bias": None}
    operation, twin = TWINS[cell]
    for one, other in zip(
        as_tuple(operation(**arguments)), as_tuple(twin(**arguments)), strict=True
    ):
        torch.testing.assert_close(one, other, equal_nan=True)


CHANGES = [
    ({"x": torch.randn(4, 3, 8)}, r"x of shape \[steps, batch, {rows}\], found \[4, 3, 8\]"),
    ({"x": torch.randn(4, 9)}, r"x of shape \[steps, batch, {rows}\], found \[4, 9\]"),
    ({"h0": torch.randn(2, 9)}, r"h0 of shape \[3, 9\], found \[2, 9\]"),
    ({"h0": torch.randn(3, 9).double()}, "h0 of dtype float32, found float64"),
    ({"bias": torch.randn(9)}, r"bias of shape \[{rows}\], found \[9\]"),
    ({"values": torch.randn(24)}, r"values of shape \[\d+\], found \[24\]"),
    ({"w_input": torch.randn(9, 2)}, r"w_input of shape \[{rows}, inputs\], found \[9, 2\]"),
    ({"pattern": random_pattern(9, 9, 25)}, r"weight of {gates} gates, {rows} x 9, found 9 x 9"),
]


@CELLS
@pytest.mark.parametrize(("change", "message"), CHANGES)
def test_errors(cell, change, message):
    arguments = problem(cell, random_pattern(9, 9, 25), 4, 3, torch.float32) | change
    message = message.replace("{rows}", str(9 * GATES[cell])).replace("{gates}", str(GATES[cell]))
    with pytest.raises(ValueError, match=message):
        TWINS[cell][0](**arguments)


@CELLS
def test_no_time_step_and_no_input(cell):
    arguments = problem(cell, random_pattern(9, 9, 25), 4, 3, inputs=2)
    none = {"x": arguments["x"][..., :0], "w_input": arguments["w_input"][:, :0]}
    with pytest.raises(ValueError, match="x of at least one time step"):
        TWINS[cell][0](**(arguments | {"x": arguments["x"][:0]}))
    with pytest.raises(ValueError, match="of at least one input"):
        TWINS[cell][0](**(arguments | none))


def test_half_a_state():
    arguments = problem("lstm", random_pattern(9, 9, 25), 4, 3)
    with pytest.raises(ValueError, match="both h0 and c0 or neither, found one"):
        ops.lstm(**(arguments | {"c0": None}))
    with pytest.raises(ValueError, match=r"c0 of shape \[3, 9\], found \[3, 8\]"):
        ops.lstm(**(arguments | {"c0": torch.randn(3, 8).double()}))


@CELLS
def test_twins_take_the_same_arguments(cell):
    operation, twin = TWINS[cell]
    assert inspect.signature(operation) == inspect.signature(twin)
