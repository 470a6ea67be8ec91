"""Operations of whole sequences with activations in bfloat16, against references in float64."""

import pytest
import torch
from kernels.sequences import (
    FORMS,
    NARROW,
    cast,
    check_narrow,
    leaves_of,
    outcome,
    with_leaves,
)
from testing import as_tuple, random_pattern

from sparse_engine import ops

HALF = 2**-8  # of a result: the rounding of bfloat16 to the nearest
EVERY = pytest.mark.parametrize("form", NARROW)


def narrow_problem(form, *arguments, **options):
    form = FORMS[form]
    return form, form.narrowed(form.problem(*arguments, dtype=torch.float32, **options))


@pytest.mark.parametrize(
    "form", [name for name in NARROW if "dense" not in name and "projected" not in name]
)
@pytest.mark.parametrize("batch", [1, 20, 64])
def test_states_are_those_of_float32(form, batch):
    """Without links: inside the time loop they are not rounded."""
    form, arguments = narrow_problem(form, random_pattern(10, 10, 0), 12, batch)
    wanted = as_tuple(form.function(**cast(arguments, torch.float32)))
    for found, exact in zip(as_tuple(form.function(**arguments)), wanted, strict=True):
        assert torch.equal(found, exact.to(found.dtype))


@EVERY
def test_arguments_that_are_not_contiguous(form):
    form, arguments = narrow_problem(form, random_pattern(70, 70, 900), 4, 20)
    leaves = leaves_of(arguments)
    strided = {name: leaves[name].mT.contiguous().mT for name in form.narrow if name in leaves}
    found = as_tuple(form.function(**with_leaves(arguments, strided)))
    assert all(map(torch.equal, found, as_tuple(form.function(**arguments))))


@pytest.mark.parametrize("form", ["rnn", "lstm", "rhn, one level", "on_lstm", "ctrnn"])
@pytest.mark.parametrize("batch", [1, 5, 16, 20, 33, 48, 64, 100])
def test_the_weight_gradient_is_that_of_what_is_kept(form, batch):
    """Products are exact: within float32's error in a sum of them."""
    for steps in (1, 2, 12):
        check_weight_gradient(form, steps, batch)


def check_weight_gradient(form, steps, batch):
    form, arguments = narrow_problem(form, random_pattern(30, 30, 180), steps, batch, initial=False)
    if "unfolds" in arguments:
        arguments |= {"unfolds": 1}  # each state is then in one product
    found = outcome(form.function, arguments)
    h = found["result 0"]
    du, gradient = found["x"], found.get("values", found.get("values[0]"))
    assert du.dtype == torch.bfloat16
    pattern = arguments.get("pattern") or arguments["patterns"][0]
    before = torch.cat([torch.zeros_like(h[:1]), h[:-1]])
    a, b = (each.double().reshape(steps * batch, -1).t() for each in (du, before))
    most = ops.sddmm(pattern, a.abs(), b.abs())
    error = (gradient - ops.sddmm(pattern, a, b)).abs()
    assert (error <= 2**-24 * steps * batch * most).all()


@EVERY
def test_half_the_memory_is_kept(form):
    """For the backward pass, of what each step has."""
    form, arguments = narrow_problem(form, random_pattern(30, 30, 200), 6, 20)

    def kept(arguments):
        tensors = {}

        def pack(tensor):
            if tensor.is_floating_point() and tensor.shape[0] == 6:
                tensors[tensor.data_ptr()] = tensor
            return tensor

        leaves = {n: leaf.requires_grad_() for n, leaf in leaves_of(arguments).items()}
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            form.function(**with_leaves(arguments, leaves))
        return [each.dtype for each in tensors.values() if each.numel() > 6 * 20]

    wide = kept(cast(arguments, torch.float32))
    assert wide and kept(arguments) == [torch.bfloat16] * len(wide)


def without_links(operation, u, *, steps, **states):
    """Return arguments of units without links, whose gates' arguments are the same at each step."""
    levels = [2] if operation == "rhn" else []
    x = torch.tensor(u).bfloat16().expand(steps, *levels, 3, -1).contiguous()
    features = next(iter(states.values())).shape[-1]
    pattern, values = random_pattern(len(u), features, 0), torch.empty(0)
    arguments = {"x": x, "bias": None} | states
    if operation == "rhn":
        return arguments | {"mask": None, "values": [values] * 2, "patterns": [pattern] * 2}
    return arguments | {"values": values, "pattern": pattern}


@pytest.mark.parametrize("form", ["lstm", "gru", "rhn", "rhn, separate gates", "on_lstm"])
@pytest.mark.parametrize("gate", [0.0, 3.0, 5.0, 8.0])
def test_gradients_over_many_steps_fade_as_they_should(form, gate):
    """A gate near 1 is kept by its distance from it: in 8 bits it would be 1.

    A master gate is kept by what its softmax leaves to other chunks.
    """
    masters = [-gate, 0.0, gate, 0.0, 1.0, 0.5, 0.3, -0.4, -1.0, 0.2, gate, 1.0]
    carried = torch.linspace(0.5, 1.5, 3)[:, None]
    nothing = torch.zeros(3, 1).bfloat16()
    u, states = {
        "lstm": ([-2.0, gate, 0.3, 1.0], {"h0": nothing, "c0": carried}),
        "gru": ([0.0, gate, 0.3], {"h0": nothing}),
        "rhn": ([0.3, -gate], {"s0": carried.bfloat16()}),
        "rhn, separate gates": ([0.3, -2.0, gate], {"s0": carried.bfloat16()}),
        "on_lstm": (
            masters,
            {"h0": torch.zeros(3, 2).bfloat16(), "c0": torch.linspace(0.5, 1.5, 6).reshape(3, 2)},
        ),
    }[form]
    check_narrow(
        FORMS[form], without_links(FORMS[form].operation, u, steps=200, **states), 3 * HALF
    )


@pytest.mark.parametrize("form", ["ctrnn", "ctrnn, RK4"])
def test_gradients_over_many_steps_in_continuous_time(form):
    """Errors of a network that forgets; one that does not multiplies rounded numbers, too."""
    form, arguments = narrow_problem(form, random_pattern(70, 70, 900), 200, 20)
    arguments |= {"dt": 0.1 * arguments["dt"], "rate": arguments["rate"] + 1}
    check_narrow(form, arguments | {"values": 0.5 * arguments["values"]})


@pytest.mark.parametrize("batch", [1, 20, 64])
def test_clipping_is_of_c_as_it_was(batch):
    """Two c that bfloat16 cannot tell apart: only the clipped one loses its gradient."""
    clip = 0.3003
    c0 = torch.tensor([clip - 1e-4, clip + 1e-4, -clip + 1e-4, -clip - 1e-4])
    assert c0[:2].bfloat16().unique().numel() == 1
    x = torch.zeros(1, batch, 4, 4)
    x[:, :, 1] = 20.0  # f = 1, i g = 0
    pattern, c0 = random_pattern(16, 4, 0), c0.expand(batch, 4).contiguous().requires_grad_()
    h0 = torch.randn(batch, 4).bfloat16()
    h, c_n = ops.lstm(x.flatten(2).bfloat16(), h0, c0, None, c0[0, :0], pattern, cell_clip=clip)
    (found,) = torch.autograd.grad([h, c_n], c0, [torch.ones_like(h), torch.ones_like(c_n)])
    assert torch.equal(found != 0, torch.tensor([True, False, True, False]).expand(batch, 4))
    assert float(c_n.detach().abs().max()) == torch.tensor(clip)


@pytest.mark.parametrize("batch", [1, 20])
def test_no_gradient_passes_a_state_at_the_limit(batch):
    """A limit that bfloat16 does not have: its neighbours there are on either side."""
    for clip in (0.3003, 0.3013):
        drive = torch.tensor([3.0, -3.0, 0.1, -0.1]).bfloat16()
        x = drive.expand(5, batch, 4).contiguous().requires_grad_()
        form, arguments = narrow_problem("ctrnn", random_pattern(4, 4, 0), 5, batch, initial=False)
        arguments |= {"x": x, "dt": torch.full((5, batch), 0.1), "rate": torch.full((4,), 0.5)}
        h = form.function(**(arguments | {"clip": clip, "unfolds": 3}))
        limit = torch.tensor(clip).bfloat16()
        assert torch.equal(h[-1, :, :2], limit * drive[:2].sign().expand(batch, 2))
        (dx,) = torch.autograd.grad(h[-1].float().sum(), x)
        assert not dx[..., :2].any() and dx[..., 2:].all()
