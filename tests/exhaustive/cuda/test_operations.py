"""Every operation by the kernels of the GPU, against those of the CPU: results and gradients.

The problems are those of tests/kernels, whose operations run on the device here.
"""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kernels.sequences import BEGINS, FORMS, leaves_of, outcome, synapses_of
from pairwise import pairwise
from testing import (
    LAYOUTS,
    as_tuple,
    assert_alike,
    assert_valid,
    awkward_patterns,
    hub_pattern,
    integers,
    laid_out,
    pattern_of,
    patterns,
    random_pattern,
)
from torch.testing import assert_close

from sparse_engine import ops
from sparse_engine.nn import SparseRNN
from sparse_engine.ops import Solver, _sequence
from sparse_engine.ops._dispatch.native import native
from sparse_engine.topology import GradientGrowth, Magnitude, Rewiring
from sparse_engine.topology.grow import CandidateGradientGrowth

DTYPES = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.bfloat16}
#: Products from the second-level cache, and by tiles in shared memory.
STAGED = [("SPARSE_ENGINE_STAGED", "0"), ("SPARSE_ENGINE_STAGED", "1")]
WITHOUT_RESETS = ("normed_rnn", "normed_lstm")
#: From 257 units on, full rows are cut into pieces.
SQUARE = {
    "one unit": random_pattern(1, 1, 1),
    "no links": random_pattern(7, 7, 0),
    "few": random_pattern(6, 6, 12),
    "hubs": hub_pattern(42, 42),
    "pieces": hub_pattern(260, 260),
}
#: Some steps leave whole panels without a running sequence, and some are more than a launch takes.
SEQUENCES = {
    **{str(shape): shape for shape in ((3, 1), (2, 3), (1, 10), (2, 40))},
    "one": [3],
    "one left": [4] + [1] * 11,
    "panels end": [5] * 2 + [4] * 9 + [3] * 16 + [1] * 40,
    "many steps": [131, 130, 127, 2],
}
first_columns = torch.zeros(40, 90, dtype=torch.bool)
first_columns[::2, :3] = True
PATTERNS = awkward_patterns() | {
    "long rows": hub_pattern(24, 900),
    "long columns": hub_pattern(600, 9),
    "first columns": pattern_of(first_columns),
}


@pytest.fixture
def there(gpu, operations_by, monkeypatch):
    """Calls a function whose operations run on the device, and notes their names in ``ran``."""
    monkeypatch.setattr(_sequence, "MULTIPLYING", set())  # torch multiplies by dense weights there

    def run(name, arguments):
        found = getattr(gpu, name)(*arguments)
        call.ran.add(name)
        return found

    def call(function):
        with operations_by(run):
            return function()

    call.ran = set()
    return call


def problem(form, pattern, sequences, dtype, begins=None, **given):
    real = torch.promote_types(dtype, torch.float32)
    if isinstance(sequences, list):
        arguments = FORMS[form].problem(pattern, None, None, real, lengths=sequences, **given)
    else:
        arguments = FORMS[form].problem(pattern, *sequences, real, **given)
        arguments |= {} if begins is None else {"resets": begins(*sequences)}
    return FORMS[form].narrowed(arguments) if dtype == torch.bfloat16 else arguments


def fits(case):
    form = FORMS[case["form"]]
    begins = case.get("begins", "never") != "never"
    if begins and form.operation in WITHOUT_RESETS:
        return False
    of_lengths = not case.get("sequences", "(").startswith("(")
    if of_lengths and (begins or not form.packable or case.get("dtype") == "bfloat16"):
        return False
    if case.get("dtype") == "bfloat16":  # a form that has kernels for it, and sums that mean much
        return case["form"] == "rnn" and case.get("pattern") not in ("one unit", "no links")
    return not form.clips or case.get("dtype", "float64") == "float64"


@pairwise(
    fits,
    form=[*FORMS],
    sequences=SEQUENCES,
    pattern=SQUARE,
    dtype=DTYPES,
    begins={name: BEGINS[name] for name in ("never", "some", "all")},
    given=[{}, {"initial": False, "bias": False}],
    staged=STAGED,
)
def test_sequences(there, form, sequences, pattern, dtype, begins, given, staged, monkeypatch):
    monkeypatch.setenv(*staged)
    arguments = problem(form, pattern, sequences, dtype, begins, **given)
    wanted = outcome(FORMS[form].function, arguments)
    found = there(lambda: outcome(FORMS[form].function, arguments))
    assert {f"{FORMS[form].operation}_{way}" for way in ("forward", "backward")} <= there.ran
    first = next(iter(arguments.values()))
    for name, other in wanted.items():
        assert found[name].dtype == other.dtype
        if dtype == torch.bfloat16:
            error = (found[name] - other).float().norm()
            assert error <= 2**-6 * other.float().norm(), name
        else:
            assert_alike([found[name]], [other], 8 * first.numel() * FORMS[form].stages)


@pytest.mark.parametrize("form", FORMS)
def test_one_gradient_alone(there, form):
    arguments = problem(form, SQUARE["few"], (2, 3), torch.float64)
    every = there(lambda: outcome(FORMS[form].function, arguments))
    for name in leaves_of(arguments):
        found = there(lambda name=name: outcome(FORMS[form].function, arguments, [name]))
        assert_alike(found.values(), [every[each] for each in found], 100)


@pairwise(
    form=[*FORMS],
    setting=[("SIMT_COOPERATIVE", "0"), ("SIMT_ORDER", "descending")],
    staged=STAGED,
)
def test_same_bits_by_launches_and_in_any_order_of_threads(
    simulated, operations_by, form, setting, staged, monkeypatch
):
    """One launch per phase gives what one cooperative kernel gives, and there is no race."""
    monkeypatch.setattr(_sequence, "MULTIPLYING", set())
    monkeypatch.setenv(*staged)
    begins = None if FORMS[form].operation in WITHOUT_RESETS else BEGINS["some"]
    arguments = problem(form, SQUARE["pieces"], (2, 3), torch.float32, begins)
    with operations_by(lambda name, own: getattr(simulated, name)(*own)):
        first = outcome(FORMS[form].function, arguments)
        monkeypatch.setenv(*setting)
        for name, other in outcome(FORMS[form].function, arguments).items():
            assert torch.equal(first[name], other), name


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru", "mgu"])
def test_dense_weights_are_refused(gpu, operations_by, cell):
    """PyTorch multiplies by them."""
    form = f"{cell}, dense input"
    arguments = problem(form, SQUARE["few"], (2, 3), torch.float64)
    refused = pytest.raises(ValueError, match="with dense weights on a CUDA device, found w")
    with operations_by(lambda name, own: getattr(gpu, name)(*own)), refused:
        FORMS[form].function(**arguments)


def test_ctrnn_takes_no_more_stages_than_fit(there):
    class Many(Solver):
        nodes = weights = (0.0,) * 17

    arguments = problem("ctrnn", SQUARE["few"], (2, 3), torch.float64) | {"solver": Many()}
    with pytest.raises(ValueError, match="expected a solver of at most 16 stages on CUDA devices"):
        there(lambda: ops.ctrnn(**arguments))


@pytest.mark.parametrize("columns", [1, 5, 40])
def test_conductance(there, columns):
    """Inputs at which the exponential of either sign overflows are among them."""
    for pattern in (hub_pattern(40, 12), hub_pattern(260, 40)):
        for scale in (1, 1000):
            x = scale * torch.randn(columns, pattern.shape[1], dtype=torch.float64)
            synapses = synapses_of(pattern.nnz, torch.float64)
            arguments = {"x": x, "synapses": synapses, "pattern": pattern}
            found = there(lambda own=arguments: outcome(ops.conductance, own))
            wanted = outcome(ops.conductance, arguments)
            assert_alike(found.values(), wanted.values(), 8 * columns * 260)


def check_products(gpu, pattern, columns, dtype, layout="rows"):
    """On whole numbers, whose sums are exact: but the last rounding of bfloat16, which is one."""
    real = torch.promote_types(dtype, torch.float32)
    out_features, in_features = pattern.shape
    values, bias = (integers(n, dtype=real) for n in (pattern.nnz, out_features))
    x, y = (
        laid_out(integers(n, columns, dtype=dtype), layout) for n in (in_features, out_features)
    )
    for name, arguments in (
        ("spmm", (values, pattern, x, bias)),
        ("spmm", (values, pattern, x, None)),
        ("spmm_t", (values, pattern, y)),
        ("sddmm", (pattern, y, x)),
        ("linear_backward", (values, pattern, x, y)),
    ):
        if name == "linear_backward" and dtype == torch.bfloat16:
            continue
        found, wanted = (as_tuple(getattr(on, name)(*arguments)) for on in (gpu, native))
        for one, other in zip(found, wanted, strict=True):
            assert one.dtype == other.dtype and torch.equal(one, other), name
            assert one.is_contiguous() == other.is_contiguous()


@pairwise(
    pattern=PATTERNS,
    columns=[0, 1, 3, 8, 17, 33, 100],
    dtype=DTYPES,
    layout=LAYOUTS,
    staged=STAGED,
)
def test_products(gpu, pattern, columns, dtype, layout, staged, monkeypatch):
    monkeypatch.setenv(*staged)
    check_products(gpu, pattern, columns, dtype, layout)


@settings(max_examples=10)
@given(
    pattern=patterns(),
    columns=st.integers(1, 70),
    dtype=st.sampled_from([*DTYPES.values()]),
    staged=st.sampled_from(STAGED),
)
def test_products_of_any_structure(gpu, pattern, columns, dtype, staged):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(*staged)
        check_products(gpu, pattern, columns, dtype)


@pytest.mark.parametrize("columns", [1, 16])
def test_numbers_at_the_edge_are_rounded_as_torch_rounds(gpu, columns):
    tie = 1 + 2.0**-8
    edges = [0.0, -0.0, torch.inf, -torch.inf, torch.nan, -torch.nan, 3.4e38, 1e-40, tie, -3 * tie]
    pattern, bias = hub_pattern(10, 12), torch.tensor(edges)
    y = gpu.spmm(torch.zeros(pattern.nnz), pattern, torch.zeros(12, columns).bfloat16(), bias)
    wanted = bias.bfloat16()[:, None].expand(10, columns)
    assert_close(y, wanted, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("staged", STAGED)
def test_not_a_number_stays_in_its_column(gpu, staged, monkeypatch):
    monkeypatch.setenv(*staged)
    x = torch.randn(17, 5)
    x[3, 2] = torch.nan
    y = gpu.spmm(torch.randn(19 * 17), PATTERNS["all"], x, None)
    assert y[:, 2].isnan().all() and not y[:, [0, 1, 3, 4]].isnan().any()


@pytest.mark.parametrize("grow", [GradientGrowth(), CandidateGradientGrowth(2.0)])
def test_training_with_growth_by_gradient(there, grow):
    model = SparseRNN(5, 12, density=0.3)
    optimizer = torch.optim.Adam(model.parameters())
    rule = Rewiring(model, optimizer, prune=Magnitude(), grow=grow, fraction=0.4, every=2)

    def train():
        for _ in range(4):
            model(torch.randn(4, 3, 5))[0].square().sum().backward()
            optimizer.step()
            optimizer.zero_grad()
            rule.step()

    there(train)
    assert_valid(*rule.weights)
    assert {"rnn_forward", "rnn_backward"} <= there.ran


def test_autocast_keeps_activations_in_bfloat16(there):
    network, x = SparseRNN(6, 20, density=0.3), torch.randn(4, 3, 6)
    wanted = network(x)[0]
    with torch.autocast("cpu", torch.bfloat16):
        y = there(lambda: network(x)[0])
    assert y.dtype == torch.bfloat16 and "rnn_forward" in there.ran
    assert (y - wanted).norm() < 2**-6 * wanted.norm()
