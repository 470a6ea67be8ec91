"""Episodes and lengths: segments, timespans, what follows a sequence, and what does not fit."""

import pytest
import torch
from contract.networks import (
    FORMS,
    PACKABLE,
    TIMED,
    assert_same,
    begins,
    cell_of,
    make,
    outcome,
    run,
    weights_of,
)
from pairwise import pairwise
from testing import leaves_of
from torch import nn
from torch.func import functional_call
from torch.nn.utils.rnn import PackedSequence, pack_sequence
from torch.testing import assert_close

from sparse_engine.deploy.quantized import QuantizedGRU, QuantizedLSTM, QuantizedRNN
from sparse_engine.errors import InputError
from sparse_engine.nn import CELLS, Cell, Recurrent

EVERY = pytest.mark.parametrize("form", FORMS)
#: Those that go step by step in their own ways.
STACKS = {
    "both ways": {"num_layers": 2, "bidirectional": True},
    "segments": {"num_layers": 2, "checkpoint_every": 3},
}
QUANTIZED = {"rnn": QuantizedRNN, "lstm": QuantizedLSTM, "gru": QuantizedGRU}


@EVERY
def test_floats_say_the_same(form):
    network = make(form, batch_first=True)
    x, *states = leaves_of(network, 7, 5)
    resets = begins(x)
    wanted = run(network, x, *states, resets=resets)
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        found = run(network, x, *states, resets=resets.to(dtype))
        assert all(map(torch.equal, found, wanted))


def test_noise_is_drawn_as_without_resets():
    network = make("rate_rnn, softplus", sigma=0.2)
    x, h0 = leaves_of(network, 6, 3)
    resets = torch.zeros(6, 3, dtype=torch.bool)
    resets[4] = True
    torch.manual_seed(1)
    plain, _ = network(x, h0)
    torch.manual_seed(1)
    y, _ = network(x, h0, resets=resets)
    assert torch.equal(y[:4], plain[:4]) and not torch.equal(y[4], plain[4])
    torch.manual_seed(1)
    network(x[:4], h0)
    own, _ = network(x[4:])
    assert_close(y[4:], own)


@EVERY
def test_each_sample_of_vmap_has_its_own(form):
    network = make(form)
    x, *_ = leaves_of(network, 4, 3)
    samples = torch.stack([begins(x), begins(x)])
    found = torch.vmap(lambda resets: network(x, resets=resets)[0])(samples)
    for own, resets in zip(found, samples, strict=True):
        assert_close(own, network(x, resets=resets)[0])


@pairwise(cell=[*QUANTIZED], int8=[True, False], batch=[1, 3, 20], initial=[True, False])
def test_quantized_networks(cell, int8, batch, initial):
    network = make(cell, torch.float32, num_layers=2, bidirectional=True)
    quantized = QUANTIZED[cell].from_sparse(network, int8=int8)
    leaves = leaves_of(network, 7, batch, initial=initial)
    resets = begins(leaves[0])
    found = run(quantized, *leaves, resets=resets)
    wanted = run(quantized.to_sparse(), *leaves, resets=resets)
    assert_close(found, [each.detach() for each in wanted], rtol=1e-5, atol=1e-5)


@EVERY
def test_what_does_not_fit(form):
    network = make(form, batch_first=True)
    x, step = torch.randn(3, 4, 6, dtype=torch.float64), torch.randn(3, 6, dtype=torch.float64)

    def refused(resets, message, error=InputError):
        with pytest.raises(error, match=message):
            network(x, resets=resets)

    for shape, found in (((4, 3), "4, 3"), ((3,), "3"), ((3, 4, 1), "3, 4, 1")):
        refused(torch.zeros(shape), rf"resets of shape \[3, 4\], found \[{found}\]")
    refused(torch.zeros(3, 4, dtype=torch.int64), "bool or a floating dtype, found int64")
    refused(torch.zeros(3, 4, device="meta"), "expected resets on cpu, found them on meta")
    refused([True], "expected resets to be a tensor, found list", TypeError)
    with pytest.raises(InputError, match=r"resets of shape \[3\], found \[4\]"):
        network.step(step, resets=torch.zeros(4))
    with pytest.raises(InputError, match=r"resets of shape \[\], found \[1\]"):
        network.step(step[0], resets=torch.zeros(1))


@pytest.mark.parametrize("form", PACKABLE)
def test_not_beside_sequences_of_different_lengths(form):
    network, x = make(form), torch.randn(4, 3, 6, dtype=torch.float64)
    message = "sequences of one length beside resets"
    with pytest.raises(InputError, match=message):
        network(x, lengths=[4, 2, 1], resets=begins(x))
    with pytest.raises(InputError, match=message):
        packed = nn.utils.rnn.pack_padded_sequence(x, [4, 2, 1])
        network(packed, resets=begins(x))


def by_steps(monkeypatch, network):
    monkeypatch.setattr(type(network.cell), "goes_by_steps", lambda *_: True)


@pairwise(form=[*FORMS], stack=STACKS)
def test_step_by_step_gives_the_same(form, stack, monkeypatch):
    """The equations of one step, and the kernel; factors are captured, too."""
    network = make(form, **stack)
    leaves = leaves_of(network, 7, 5)
    given = {"resets": begins(leaves[0])}
    if form in TIMED:
        given["timespans"] = torch.rand(7, 5, dtype=torch.float64)
    captures = CELLS[cell_of(form)].cell.gradient_growth

    def found():
        for weight in weights_of(network).values():
            weight.captured = [[]] if captures else None
        values = outcome(network, leaves, **given)
        for name, weight in weights_of(network).items() if captures else []:
            values[f"{name}.dense"] = sum(dy.T @ x for dy, x in weight.captured.pop())
        return values

    wanted = found()
    by_steps(monkeypatch, network)
    assert_same(found(), wanted, 1e-10)


def test_noise_step_by_step_is_the_same(monkeypatch):
    network = make("rate_rnn, softplus", sigma=0.2)
    leaves = leaves_of(network, 6, 3)
    resets = begins(leaves[0])
    torch.manual_seed(1)
    wanted, _ = network(*leaves, resets=resets)
    by_steps(monkeypatch, network)
    torch.manual_seed(1)
    assert_close(network(*leaves, resets=resets)[0], wanted)


def test_a_cell_of_ones_own_takes_them_without_knowing():
    class Sum(Cell):
        def step(self, v, product, state):
            return (state[0] + v,)

    class Total(Recurrent):
        cell_type = Sum

    network = Total(2, 2, 2, density=1.0, bias=False, dtype=torch.float64)
    with torch.no_grad():
        network.weight_ih_l0.copy_(torch.eye(2))
        network.weight_ih_l1.values.copy_(torch.eye(2).flatten())
    x = torch.randn(5, 3, 2, dtype=torch.float64)
    resets = torch.zeros(5, 3, dtype=torch.bool)
    resets[2, 1] = True
    y, h_n = network(x, resets=resets)
    parts = torch.cat([x[:2, 1].cumsum(0).cumsum(0), x[2:, 1].cumsum(0).cumsum(0)])
    assert_close(y[:, 1], parts)
    assert_close(y[:, [0, 2]], x[:, [0, 2]].cumsum(0).cumsum(0))
    assert_close(h_n[-1], y[-1])


CLOSE = {"rtol": 1e-13, "atol": 1e-13}


def spans_of(form, x):
    """Return random lengths of all inputs, where the network takes them, as options."""
    return {"timespans": torch.rand(x.shape[:-1], dtype=x.dtype)} if form in TIMED else {}


@pairwise(form=[*FORMS], dtype=[torch.float32, torch.float64], timed=[True, False])
def test_no_sequences(form, dtype, timed):
    network = make(form, dtype, num_layers=2, bidirectional=True)
    leaves = leaves_of(network, 4, 0)
    found = outcome(network, leaves, **(spans_of(form, leaves[0]) if timed else {}))
    assert found["result 0"].shape == (4, 0, 2 * network.size_of("h0"))
    for i, name in enumerate(network.states, 1):
        assert found[f"result {i}"].shape == (4, 0, network.size_of(name))
    for name, _ in network.named_parameters():
        assert torch.equal(found[name], torch.zeros_like(found[name])), name


@pairwise(form=[*FORMS], batch_first=[False, True], batch=[0, 3, None], resets=[False, True])
def test_steps_are_a_sequence(form, batch_first, batch, resets):
    network = make(form, num_layers=2, batch_first=batch_first)
    leaves = leaves_of(network, 7, batch)
    time = 1 if batch_first and batch is not None else 0
    given = spans_of(form, leaves[0])
    if resets:
        given["resets"] = torch.rand(leaves[0].shape[:-1]) < 0.3

    def steps(x, hx, **given):
        outputs = []
        for t, step in enumerate(x.unbind(time)):
            own = {name: each.select(time, t) for name, each in given.items()}
            y, hx = network.step(step, hx, **own)
            outputs.append(y)
        return torch.stack(outputs, time), hx

    found = outcome(network, leaves, call=steps, **given)
    assert_same(found, outcome(network, leaves, **given), 1e-12)


@pytest.mark.parametrize("cell", CELLS)
def test_what_cannot_step(cell):
    with pytest.raises(ValueError, match="one direction"):
        make(cell, bidirectional=True).step(torch.randn(3, 6, dtype=torch.float64))
    with pytest.raises(ValueError, match=r"expected input of shape \[batch, 6\] or \[6\]"):
        make(cell).step(torch.randn(2, 3, 6, dtype=torch.float64))


@pairwise(
    lambda case: case.get("lengths", "None") == "None" or case["form"] in PACKABLE,
    form=[*FORMS],
    lengths=[None, [17, 2, 9]],
)
def test_segments_keep_the_parameters_of_a_functional_call(form, lengths):
    network, x = make(form), torch.randn(17, 3, 6, dtype=torch.float64)
    others = {
        name: (1.1 * parameter).detach().requires_grad_()
        for name, parameter in network.named_parameters()
    }

    def gradients(every):
        network.checkpoint_every = every
        options = {} if lengths is None else {"lengths": lengths}
        y, _ = functional_call(network, others, x, options)
        return torch.autograd.grad(y.square().sum(), [*others.values()], allow_unused=True)

    for own, other in zip(gradients(4), gradients(None), strict=True):
        assert_close(own, other, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("cell", CELLS)
def test_segments_compute_their_steps_again_and_keep_less(cell, monkeypatch):
    network = make(cell, num_layers=2)
    kind, lengths, kept = type(network), [], {}
    layer = kind.run_layer

    def noting(self, name, sequence, *state, **given):
        lengths.append(sequence.steps)
        return layer(self, name, sequence, *state, **given)

    def pack(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    def memory(every, steps):
        network.checkpoint_every = every
        kept.clear()
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            network(torch.randn(steps, 3, 6, dtype=torch.float64))
        return sum(kept.values())

    assert memory(20, 200) < memory(None, 200)
    network.checkpoint_every = 5
    monkeypatch.setattr(kind, "run_layer", noting)
    x = torch.randn(12, 3, 6, dtype=torch.float64)
    with torch.no_grad():
        network(x)
    assert lengths == [12, 12]
    lengths.clear()
    y = network(x)[0]
    assert lengths == [5, 5, 2] * 2
    y.sum().backward()
    assert sorted(lengths) == [2] * 4 + [5] * 8


@pytest.mark.parametrize("form", TIMED)
def test_equal_timespans_are_those_of_dt_and_none_change_nothing(form):
    network = make(form)
    x, h0 = leaves_of(network, 5, 3)
    equal = torch.full((5,), network.dt * network.unfolds, dtype=torch.float64)
    assert_close(network(x, h0), network(x, h0, timespans=equal), **CLOSE)
    bounded = h0 if getattr(network, "cell_clip", None) is None else h0.clamp(-0.2, 0.2)
    y, h_n = network(x, bounded, timespans=torch.zeros(5, dtype=torch.int64))
    assert torch.equal(y, bounded.expand(5, -1, -1)) and torch.equal(h_n, bounded)


@pairwise(
    form=TIMED,
    batch_first=[False, True],
    given={"number": float, "tensor": torch.tensor, "list": lambda span: [span] * 3},
)
def test_a_step_takes_one_time_for_all_or_a_list(form, batch_first, given):
    network = make(form, batch_first=batch_first)
    x, h0 = torch.randn(3, 6, dtype=torch.float64), torch.randn(1, 3, 21, dtype=torch.float64)
    wanted = network.step(x, h0, timespans=torch.full((3,), 0.7, dtype=torch.float64))
    # A tensor of single precision is what it holds; numbers are taken in the network's.
    close = {"rtol": 1e-6, "atol": 1e-6} if given is torch.tensor else {"rtol": 0, "atol": 0}
    assert_close(network.step(x, h0, timespans=given(0.7)), wanted, **close)


def refused(timespans, message, *, step=False, form="ctrnn"):
    network = make(form)
    x = torch.randn(3, 6, dtype=torch.float64)
    with pytest.raises(ValueError, match=message):
        if step:
            network.step(x, timespans=timespans)
        else:
            network(x.expand(4, 3, 6), timespans=timespans)


@pytest.mark.parametrize("form", TIMED)
def test_timespans_of_the_wrong_shape(form):
    for spans, found in ((5, r"\[5\]"), ((3, 4), r"\[3, 4\]"), ((), r"\[\]")):
        message = rf"timespans of shape \[4\] or \[4, 3\], found {found}"
        refused(torch.ones(spans), message, form=form)
    for spans, found in ((torch.ones(4), r"\[4\]"), (torch.ones(1, 3), r"\[1, 3\]"), ([1.0], "")):
        message = rf"timespans of shape \[\] or \[3\], found {found}"
        refused(spans, message, step=True, form=form)
    with pytest.raises(ValueError, match=r"timespans of shape \[\], found \[1\]"):
        make(form).step(torch.randn(6, dtype=torch.float64), timespans=torch.ones(1))


@pytest.mark.cpu
@pytest.mark.parametrize("form", TIMED)
def test_timespans_that_are_none(form):
    finite = r"finite and at least 0, found nan at step {}"
    refused(torch.tensor([1.0, 1, 1, torch.nan]), finite.format(3), form=form)
    refused([1.0, torch.nan, 1.0], finite.format(0), step=True, form=form)
    negative = r"timespans / unfolds.*at least 0, found -\S+ at step {}"
    refused(torch.tensor([1.0, 1, -6, 1]), negative.format(2), form=form)
    refused(-6.0, negative.format(0), step=True, form=form)


@pytest.mark.parametrize("form", PACKABLE)
@pytest.mark.parametrize("batch_first", [False, True])
def test_what_follows_a_sequence_is_neither_read_nor_written(form, batch_first):
    network = make(form, torch.float32, batch_first=batch_first)
    lengths = torch.tensor([2, 5, 3], dtype=torch.int32)
    (x,) = leaves_of(network, 7, 3, initial=False)
    over = torch.arange(7)[:, None] >= lengths
    over = over.T if batch_first else over
    x[over] = torch.nan
    found = outcome(network, [x], lengths=lengths)
    y, dx = found["result 0"], found["argument 0"]
    assert (y[over] == 0).all() and (y[~over] != 0).any(-1).all()
    assert (dx[over] == 0).all()
    assert all(each.isfinite().all() for each in found.values())


@pytest.mark.parametrize("form", PACKABLE)
def test_full_lengths_change_nothing(form):
    network = make(form, torch.float32, num_layers=2, bidirectional=True)
    for lengths in ([5] * 20, []):
        leaves = leaves_of(network, 5, len(lengths))
        found = run(network, *leaves, lengths=lengths)
        assert all(map(torch.equal, found, run(network, *leaves)))


@pytest.mark.parametrize("form", [form for form in PACKABLE if "," not in form])
def test_lengths_that_do_not_fit(form):
    network, x = make(form, torch.float32), torch.randn(4, 3, 6)
    for lengths, message in [
        ([4, 5, 2], r"expected lengths in \[1, 4\], found 5 at position 1"),
        ([4, 1, 0], r"expected lengths in \[1, 4\], found 0 at position 2"),
        ([4, -1, 0], r"expected lengths in \[1, 4\], found -1 at position 1"),
        ([4, 1], r"expected lengths of shape \[3\], found \[2\]"),
        (4, r"expected lengths of shape \[3\], found \[\]"),
        ([4.0, 1.0, 1.0], "expected lengths of an integer dtype, found torch.float32"),
        (torch.ones(3, dtype=torch.bool), "expected lengths of an integer dtype, found torch.bool"),
        (torch.ones(3, device="meta"), "expected lengths on the CPU, found them on meta"),
    ]:
        with pytest.raises(InputError, match=message):
            network(x, lengths=lengths)
    with pytest.raises(InputError, match="expected no lengths for a single sequence"):
        network(x[:, 0], lengths=[4])


@pytest.mark.parametrize("form", [form for form in PACKABLE if "," not in form])
def test_packed_sequences_that_do_not_fit(form):
    network = make(form, torch.float32)
    packed = pack_sequence([torch.randn(3, 6), torch.randn(2, 6)])
    with pytest.raises(ValueError, match="expected no lengths beside a PackedSequence"):
        network(packed, lengths=[3, 2])
    with pytest.raises(ValueError, match=r"input of shape \[rows, 6\], found \[5, 7\]"):
        network(pack_sequence([torch.randn(3, 7), torch.randn(2, 7)]))
    with pytest.raises(ValueError, match="dtype float32, found float64"):
        network(packed.double())
    for sizes, message in [
        ([1, 2], "batch_sizes of at least 1 that never grow, found 2 at position 1"),
        ([2, 0], "batch_sizes of at least 1 that never grow, found 0 at position 1"),
        ([2, 2], "expected x of 4 rows, as batch_sizes add up to, found 3"),
    ]:
        with pytest.raises(ValueError, match=message):
            network(PackedSequence(torch.randn(3, 6), torch.tensor(sizes)))
    size = network.size_of("h0")
    message = rf"h0 of shape \[1, 2, {size}\], found \[1, 3, {size}\]"
    with pytest.raises(ValueError, match=message):
        run(network, packed, *leaves_of(network, 1, 3)[1:])
