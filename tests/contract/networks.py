"""Networks of every cell in every form, and what a forward and a backward pass through them gives.

A form is a cell with options of its own. A property is tested over the forms, or over the cells
where options do not matter to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

import pytest
import torch
from testing import CELLS as WITH_NORMS
from testing import as_tuple
from torch import Tensor, nn
from torch.testing import assert_close

from sparse_engine.nn import (
    CELLS,
    AlphaSynapse,
    ATan,
    Euler,
    GroupedWeight,
    Recurrent,
    SparseLinear,
    SparseWeight,
    SReLU,
    Triangle,
)
from sparse_engine.nn.cells import CellEntry

INPUTS, UNITS = 6, 21

#: What makes each form, by name: called as a network's class is, for a number of units that
#: 21 divides. The name begins with that of its cell, or with "normed" and that.
FORMS: dict[str, Callable[..., Recurrent]] = {
    **WITH_NORMS,
    "rnn, relu": partial(CELLS["rnn"], nonlinearity="relu"),
    "lstm, projected": partial(CELLS["lstm"], proj_size=9),
    "lstm, clipped": partial(CELLS["lstm"], cell_clip=0.1),
    "normed lstm, clipped": partial(CELLS["lstm"], layer_norm=True, cell_clip=0.1),
    "rhn, separate gates": partial(CELLS["rhn"], coupled=False, recurrence_depth=3),
    "rhn, one level": partial(CELLS["rhn"], recurrence_depth=1),
    "on_lstm, chunks of one": partial(CELLS["on_lstm"], chunk_size=1),
    "on_lstm, three chunks": lambda inputs, units, *others, **options: CELLS["on_lstm"](
        inputs, units, *others, chunk_size=units // 3, **options
    ),
    "ctrnn, own time constants": lambda inputs, units, *others, **options: CELLS["ctrnn"](
        inputs, units, *others, tau=torch.linspace(0.3, 2, units), trainable_tau=True, **options
    ),
    "ctrnn, clipped": partial(CELLS["ctrnn"], cell_clip=0.3, unfolds=3),
    "rate_rnn, softplus": partial(CELLS["rate_rnn"], nonlinearity="softplus", tau=0.5, unfolds=3),
    "rate_rnn, groups": lambda inputs, units, *others, **options: CELLS["rate_rnn"](
        inputs,
        units,
        *others,
        nonlinearity="sigmoid",
        tau=torch.tensor([0.3, 1.0, 2.0]),
        trainable_tau=True,
        groups=torch.arange(units) % 3,
        **options,
    ),
    "neural_ode, Euler": partial(CELLS["neural_ode"], dt=0.2, unfolds=3, solver=Euler()),
    "lif, refractory": partial(CELLS["lif"], refractory=2, delay=3, surrogate=ATan(2.0)),
    "lif, alpha": partial(
        CELLS["lif"], synapse=AlphaSynapse(3.0), resistance=60.0, surrogate=Triangle()
    ),
    "lif, cleared": partial(
        CELLS["lif"], synapse=AlphaSynapse(2.0), keeps_current=False, resistance=40.0, delay=2
    ),
    "ltc, one unfold": partial(CELLS["ltc"], unfolds=1),
}


#: What makes modules of every kind, from 6 features; options are those of every module.
MODULES: dict[str, Callable[..., nn.Module]] = {
    "linear": partial(SparseLinear, 6, UNITS, density=0.3),
    "srelu": partial(SReLU, 6),
    "grouped": partial(GroupedWeight.erdos_renyi, UNITS, 6, density=0.3),
    **{
        name: partial(kind, 6, UNITS, 2, density=0.3, input_density=0.5, bidirectional=True)
        for name, kind in WITH_NORMS.items()
    },
}


def mostly_exhaustive(name: str, values: Iterable[str], *quick: str) -> pytest.MarkDecorator:
    """Parametrize a test by values of which only some are quick enough for `make test`."""
    slow = pytest.mark.exhaustive
    cases = [pytest.param(each, marks=() if each in quick else slow) for each in values]
    return pytest.mark.parametrize(name, cases)


def cell_of(form: str) -> str:
    return form.removeprefix("normed ").partition(",")[0]


def forms_where(supported: Callable[[CellEntry], bool]) -> list[str]:
    return [form for form in FORMS if supported(CELLS[cell_of(form)])]


PACKABLE = forms_where(lambda entry: entry.cell.packable)
TIMED = forms_where(lambda entry: entry.cell.timed)


def make(
    form: str, dtype: torch.dtype = torch.float64, *, units: int = UNITS, **options
) -> Recurrent:
    """Return a network, the same at every call with the same arguments.

    Gains and offsets of norms are drawn; other parameters are as they start.
    """
    generator = torch.Generator().manual_seed(4)
    options = {"density": 0.3, "dtype": dtype, "generator": generator} | options
    network = FORMS[form](INPUTS, units, **options)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.startswith("norm"):
                parameter.normal_(generator=generator)
    return network


def begins(x: Tensor, share: float = 0.3) -> Tensor:
    """Return where episodes begin in an input: at its first step, too."""
    return torch.rand(x.shape[:-1]) < share


def is_taken(case: Mapping[str, object]) -> bool:
    """Whether the form of a case takes what is ``given`` to it beside its input."""
    of = {"lengths": PACKABLE, "timespans": TIMED}.get(str(case.get("given")))
    return of is None or case["form"] in of


def weights_of(network: nn.Module) -> dict[str, SparseWeight]:
    return {n: each for n, each in network.named_modules() if isinstance(each, SparseWeight)}


def run(network: Callable, x: object, *states: Tensor, **options) -> tuple[Tensor, ...]:
    """Return the output of a network that is given its states one by one, and its final states."""
    hx = states if len(states) > 1 else states[0] if states else None
    y, final = network(x, hx, **options)
    return y, *as_tuple(final)


def outcome(
    network: nn.Module,
    leaves: Sequence[Tensor],
    *,
    call: Callable | None = None,
    **options,
) -> dict[str, Tensor]:
    """Return results, and the gradients of all arguments and parameters, by name.

    ``call`` is called in place of the network, with copies of the leaves. Real tensors among the
    options get gradients, too.
    """
    own = [leaf.detach().clone().requires_grad_() for leaf in leaves]
    options = {
        name: each.detach().clone().requires_grad_() if is_real(each) else each
        for name, each in options.items()
    }
    wanted = {f"argument {i}": leaf for i, leaf in enumerate(own)}
    wanted |= {name: each for name, each in options.items() if is_real(each)}
    wanted |= {name: p for name, p in network.named_parameters() if p.requires_grad}
    results = run(network if call is None else call, *own, **options)
    generator = torch.Generator().manual_seed(1)
    upstream = [
        torch.randn(each.shape, generator=generator, dtype=torch.float64).to(each)
        for each in results
    ]
    smooth = [(y, dy) for y, dy in zip(results, upstream, strict=True) if y.requires_grad]
    ys, dys = zip(*smooth, strict=True)  # a spiking unit's refractory time has no gradient
    grads = torch.autograd.grad(ys, [*wanted.values()], dys, materialize_grads=True)
    found = {f"result {i}": each.detach() for i, each in enumerate(results)}
    return found | dict(zip(wanted, grads, strict=True))


def is_real(value: object) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()


def assert_same(
    found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], bound: float = 0.0
) -> None:
    """Check two outcomes against each other, relative to the largest entry of each tensor."""
    assert found.keys() == wanted.keys()
    for name, expected in wanted.items():
        own = found[name].to(expected.dtype)
        size = max(1.0, float(expected.abs().max())) if expected.numel() else 1.0
        assert_close(
            own / size,
            expected / size,
            rtol=bound,
            atol=bound,
            msg=lambda text, name=name: f"{name}: {text}",
        )
