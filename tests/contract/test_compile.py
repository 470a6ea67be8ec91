"""Networks under torch.compile, torch.export, AOTInductor and torch.jit.trace.

A compiler asks every form for the shapes of its results and gradients, which is quick. What it
makes of them depends on what a network takes beside its input: of those who take the same, one is
compiled here, and the others in the exhaustive tests.
"""

import io
import math
from itertools import product

import pytest
import torch
from contract.networks import (
    FORMS,
    PACKABLE,
    TIMED,
    assert_same,
    begins,
    make,
    mostly_exhaustive,
    outcome,
    run,
    weights_of,
)
from contract.test_equations import packed
from testing import leaves_of, output_of
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.testing import assert_close
from torch.utils._pytree import tree_leaves

from sparse_engine.nn import SparseLinear
from sparse_engine.topology import SET

#: One form of each cell, and those whose graphs have something more; mgu's is that of gru.
COMPILED = [form for form in FORMS if "," not in form and form not in ("mgu", "normed rnn")]
COMPILED += ["lstm, projected", "lstm, clipped", "ctrnn, own time constants"]
#: Each with something that the others have not.
OF_DIFFERENT_LENGTHS = {
    "rnn": {"bidirectional": True},
    "lstm, projected": {"batch_first": True},
    "gru": {"num_layers": 2, "input_density": 0.5},
    "mgu": {"batch_first": True},
    "normed rnn": {},
    "normed lstm": {"bidirectional": True, "batch_first": True},
}
#: The longest is shorter than the padding, and as long; all of one length.
LENGTHS = [3, 6, 1, 5], [7, 6, 7, 1], [1, 1, 1, 1], [7, 7, 7, 7]


def compiled(function, *, fullgraph=True):
    """Return the compiled function, and a list that grows with every graph that is made of it."""
    graphs = []

    def backend(graph, examples):
        graphs.append(graph)
        return torch._dynamo.lookup_backend("aot_eager")(graph, examples)

    torch._dynamo.reset()
    return torch.compile(function, backend=backend, fullgraph=fullgraph), graphs


# Tensors that are given to a network have their numbers checked, which fake ones have not.
@pytest.mark.parametrize(
    "form", sorted(FORMS.keys() - {"ctrnn, own time constants", "rate_rnn, groups"})
)
def test_fake_tensors_have_the_same_shapes(form):
    """Shapes, strides and dtypes of results and gradients."""
    network = make(form, torch.float32, num_layers=2, bidirectional=True, batch_first=True)

    def layouts():
        x, *states = leaves_of(network, 4, 3)
        given = {"timespans": torch.rand(3, 4)} if form in TIMED else {}
        found = outcome(network, [x, *states], resets=begins(x), **given)
        return {name: (each.shape, each.stride(), each.dtype) for name, each in found.items()}

    expected = layouts()
    with FakeTensorMode(allow_non_fake_inputs=True):
        assert layouts() == expected


GIVEN = {
    "resets": lambda form, x: {"resets": begins(x)},
    "timespans": lambda form, x: {"timespans": torch.rand(len(x))},
}
QUICK = {("rnn", "resets"), ("neural_ode", "timespans")}


@pytest.mark.parametrize(
    ("form", "given"),
    [
        pytest.param(*case, marks=() if case in QUICK else pytest.mark.exhaustive)
        for case in product(COMPILED, GIVEN)
        if case[0] in TIMED or case[1] == "resets"
    ],
)
def test_training_steps_without_a_graph_break_for_any_number_of_steps(form, given):
    network = make(form, torch.float32, bidirectional=True)
    fast, graphs = compiled(network)
    for steps in (4, 5, 6):
        leaves = leaves_of(network, steps, 3)
        given_ = GIVEN[given](form, leaves[0])
        found = outcome(network, leaves, call=fast, **given_)
        assert_same(found, outcome(network, leaves, **given_), 1e-5)
    # One that knows the number of steps, and one for any; spiking units with resets go step by
    # step, so that each number has a graph of its own.
    assert len(graphs) <= (3 if (form, given) == ("lif", "resets") else 2)


@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")  # read by the compiler
@mostly_exhaustive(
    "form", ["rnn", "lstm, projected", "gru", "rhn", "ctrnn", "linear"], "lstm, projected"
)
def test_factors_are_captured_as_without_a_compiler(form):
    network = SparseLinear(6, 6, density=0.5) if form == "linear" else make(form, torch.float32)
    weight = [*weights_of(network).values()][-1]
    leaves = [torch.randn(5, 3, 6)] if form == "linear" else leaves_of(network, 5, 3)

    def gradient(call):
        weight.captured = [[]]
        output_of(call, *leaves[:1]).square().sum().backward()
        return sum(dy.T @ x for dy, x in weight.captured[0])

    fast, _ = compiled(network, fullgraph=False)
    assert_close(gradient(fast), gradient(network))
    assert gradient(network).abs().max() > 0


@pytest.mark.exhaustive
def test_inductor_follows_a_rewiring():
    network = make("rnn", torch.float32, bidirectional=True)
    fast = torch.compile(network, fullgraph=True)
    rule = SET(network, None, fraction=0.5, every=1)
    for _ in range(2):
        leaves = leaves_of(network, 5, 1)
        assert_same(outcome(network, leaves, call=fast), outcome(network, leaves), 1e-5)
        rule.step()


OF_LENGTHS = mostly_exhaustive("form", OF_DIFFERENT_LENGTHS, "lstm, projected")


def with_states(form):
    """Return a network, and its arguments for 7 steps of 4 sequences."""
    network = make(form, torch.float32, **OF_DIFFERENT_LENGTHS[form])
    return network, leaves_of(network, 7, 4)


def test_every_cell_that_takes_lengths_is_here():
    assert {*OF_DIFFERENT_LENGTHS} >= {form for form in PACKABLE if "," not in form} - {"lstm"}


@OF_LENGTHS
def test_lengths_in_a_tensor_share_one_graph(form):
    network, leaves = with_states(form)
    fast, graphs = compiled(network)
    for lengths in (torch.tensor(each, dtype=torch.int32) for each in LENGTHS):
        found = outcome(network, leaves, call=fast, lengths=lengths)
        assert_same(found, outcome(network, leaves, lengths=lengths), 1e-5)
    for leaf in leaves:
        leaf.requires_grad_()
    for lengths in ([3, 8, 1, 5], [3, 6, 0, 5]):
        with pytest.raises(RuntimeError, match=r"expected lengths in \[1, 7\]"):
            run(fast, *leaves, lengths=torch.tensor(lengths, dtype=torch.int32))
    assert len(graphs) == 1


@pytest.mark.exhaustive
@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")  # read by the compiler
@pytest.mark.parametrize("form", ["gru", "normed lstm"])
def test_packed_sequences(form):
    network, leaves = with_states(form)
    for lengths in (LENGTHS[0], [7, 6, 6, 1]):
        fast, _ = compiled(network)
        found = outcome(network, leaves, call=packed(fast, lengths))
        assert_same(found, outcome(network, leaves, call=packed(network, lengths)), 1e-5)


@pytest.mark.exhaustive
@pytest.mark.filterwarnings("ignore")  # of torch itself, about what it then does not compile
def test_segments_break_the_graph():
    network, leaves = with_states("rnn")
    network.checkpoint_every = 3
    fast, graphs = compiled(network, fullgraph=False)
    found = outcome(network, leaves, call=fast, lengths=LENGTHS[0])
    assert_same(found, outcome(network, leaves, lengths=LENGTHS[0]), 1e-5)
    assert len(graphs) > 1


MODULES = {"linear": lambda: SparseLinear(6, 21, density=0.3)} | {
    form: lambda form=form: make(form, torch.float32, bidirectional=True) for form in COMPILED
}
EVERY_MODULE = mostly_exhaustive("kind", MODULES, "lstm, projected")


@EVERY_MODULE
def test_an_exported_program_computes_the_same(kind):
    module, x = MODULES[kind]().eval(), torch.randn(7, 3, 6)
    program = torch.export.export(module, (x,))
    for node in program.graph.nodes:  # what JSON cannot say would be read as a string
        assert all(math.isfinite(a) for a in tree_leaves(node.args) if isinstance(a, float))
    file = io.BytesIO()
    torch.export.save(program, file)
    file.seek(0)
    loaded = torch.export.load(file).module()
    assert_close(output_of(loaded, x), output_of(module, x), **exactly(kind))


def exactly(kind):
    """Return tolerances of 0, but for the norms, which torch computes in another order."""
    return dict.fromkeys(("rtol", "atol"), 1e-5 if kind.startswith("normed") else 0.0)


@EVERY_MODULE
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning")  # from torch 2.14 on
def test_a_trace_has_the_same_gradients(kind):
    module, x = MODULES[kind](), torch.randn(7, 3, 6)
    file = io.BytesIO()
    torch.jit.save(torch.jit.trace(module, (x,)), file)
    file.seek(0)
    traced = torch.jit.load(file)
    for each in (x, torch.randn(5, 4, 6)):
        assert_close(output_of(traced, each), output_of(module, each), **exactly(kind))
    own, other = (
        torch.autograd.grad(output_of(each, x).square().sum(), [*each.parameters()])
        for each in (module, traced)
    )
    assert_close(other, own, rtol=1e-4, atol=1e-4)
