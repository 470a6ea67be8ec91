"""Problems for the operations of whole sequences: arguments, results and gradients by name.

A form is an operation with arguments of some kind. Properties that all operations have are tested
over the forms; what a single one has is in its own file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import torch
from testing import (
    as_tuple,
    assert_scaled_sums,
    batch_sizes_of,
    is_real,
    pattern_of,
    random_pattern,
    stacked,
)
from torch import Tensor
from torch.utils._pytree import keystr, tree_flatten_with_path, tree_map_with_path

from sparse_engine import ops
from sparse_engine.nn import RK4, Euler
from sparse_engine.ops import Norm, Pattern, Solver, Synapses

Arguments = dict[str, object]
GATES = {"rnn": 1, "lstm": 4, "gru": 3, "mgu": 2, "normed_rnn": 1, "normed_lstm": 4}


class Heun(Solver):
    nodes = (0.0, 1.0)
    weights = (0.5, 0.5)


class Sizes(NamedTuple):
    """Parts of every problem: the pattern of one gate, and the sizes of its sequences."""

    pattern: Pattern
    steps: int
    batch: int
    dtype: torch.dtype
    initial: bool
    bias: bool
    lengths: Sequence[int] | None

    @property
    def units(self) -> int:
        return self.pattern.shape[0]

    @property
    def outer(self) -> tuple[int, ...]:
        return (self.steps, self.batch) if self.lengths is None else (sum(self.lengths),)

    def numbers(self, *shape: int, scale: float = 1.0) -> Tensor:
        return (scale * torch.randn(shape, dtype=torch.float64)).to(self.dtype)

    def values(self, pattern: Pattern) -> Tensor:
        return self.numbers(pattern.nnz, scale=(pattern.shape[0] / max(1, pattern.nnz)) ** 0.5)

    def states(self, *names: str, features: int | None = None) -> Arguments:
        shape = (self.batch, self.units if features is None else features)
        return {name: self.numbers(*shape) if self.initial else None for name in names}

    def packing(self) -> Arguments:
        return {} if self.lengths is None else {"batch_sizes": batch_sizes_of(self.lengths)}


def gated(
    sizes: Sizes,
    operation: str,
    *,
    inputs: int | None = None,
    outputs: int | None = None,
    **options: object,
) -> Arguments:
    """Return arguments of rnn, lstm, gru or mgu, maybe with dense inputs and projected outputs."""
    pattern, rows = stacked(sizes.pattern, GATES[operation]), GATES[operation] * sizes.units
    projection = None
    if outputs is not None:
        pattern = random_pattern(rows, outputs, rows * outputs // 2)
        projection = random_pattern(outputs, sizes.units, outputs * sizes.units // 2, seed=1)
    arguments = {"x": sizes.numbers(*sizes.outer, rows if inputs is None else inputs)}
    arguments |= sizes.states("h0", features=outputs)
    arguments |= sizes.states("c0") if operation == "lstm" else {}
    arguments["bias"] = sizes.numbers(rows) if sizes.bias else None
    arguments |= {"values": sizes.values(pattern), "pattern": pattern}
    if inputs is not None:
        arguments["w_input"] = sizes.numbers(rows, inputs, scale=inputs**-0.5)
        if operation in ("gru", "mgu"):
            arguments["b_input"] = sizes.numbers(rows) if sizes.bias else None
    if projection is not None:
        arguments["projection"] = sizes.values(projection), projection
    return arguments | sizes.packing() | options


def normed(sizes: Sizes, operation: str, *, affine: bool = True, **options: object) -> Arguments:
    """Return arguments of normed_rnn or normed_lstm.

    The norms' eps are large enough for sums that cancel to be no larger than others.
    """

    def norm(features: int, eps: float) -> Norm:
        if not affine:
            return Norm(eps=eps)
        return Norm(sizes.numbers(features), sizes.numbers(features), eps)

    pattern, rows = stacked(sizes.pattern, GATES[operation]), GATES[operation] * sizes.units
    arguments = {"x": sizes.numbers(*sizes.outer, rows)}
    arguments |= sizes.states(*(("h0", "c0") if operation == "normed_lstm" else ("h0",)))
    arguments |= {"values": sizes.values(pattern), "pattern": pattern, "norm": norm(rows, 0.1)}
    if operation == "normed_lstm":
        arguments["c_norm"] = norm(sizes.units, 0.2)
    return arguments | sizes.packing() | options


def rhn(sizes: Sizes, *, blocks: int = 2, depth: int = 2, fed: int = 1) -> Arguments:
    """Return arguments of rhn; x reaches the first ``fed`` of the levels."""
    levels = [stacked(sizes.pattern, blocks, turn=level) for level in range(depth)]
    rows, shape = blocks * sizes.units, (sizes.batch, sizes.units)
    return {
        "x": sizes.numbers(sizes.steps, fed, sizes.batch, rows),
        **sizes.states("s0"),
        "mask": (torch.rand(shape) < 0.7).to(sizes.dtype) / 0.7 if sizes.initial else None,
        "bias": sizes.numbers(depth, rows) if sizes.bias else None,
        "values": [sizes.values(level) for level in levels],
        "patterns": levels,
    }


def on_lstm(sizes: Sizes, *, most: int = 10) -> Arguments:
    """Return arguments of on_lstm, whose chunks have as many units as divide them, up to most."""
    units = sizes.units
    chunks = units // max(size for size in range(1, most + 1) if units % size == 0)
    mask = sizes.pattern.dense(torch.ones(sizes.pattern.nnz)) > 0
    masters = mask[torch.arange(2 * chunks) % units]
    pattern = pattern_of(torch.cat([masters, *(mask.roll(gate, 1) for gate in range(4))]))
    return {
        "x": sizes.numbers(*sizes.outer, pattern.shape[0]),
        **sizes.states("h0", "c0"),
        "bias": sizes.numbers(pattern.shape[0]) if sizes.bias else None,
        "values": sizes.values(pattern),
        "pattern": pattern,
    }


def continuous(sizes: Sizes, *, solver: Solver, unfolds: int = 2, **options: object) -> Arguments:
    """Return arguments of ctrnn or rate_rnn; the last of several steps takes no time."""
    dt = 0.5 * torch.rand(sizes.steps, sizes.batch, dtype=torch.float64).to(sizes.dtype)
    dt[1:][-1:] = 0
    return {
        "x": sizes.numbers(*sizes.outer, sizes.units),
        **sizes.states("h0"),
        "dt": dt,
        "values": sizes.values(sizes.pattern),
        "pattern": sizes.pattern,
        "rate": 2 * torch.rand(sizes.units).to(sizes.dtype) if sizes.bias else None,
        "unfolds": unfolds,
        "solver": solver,
        **options,
    }


def ltc(sizes: Sizes, *, unfolds: int) -> Arguments:
    return {
        "current": sizes.numbers(*sizes.outer, sizes.units),
        "conductance": 1 + torch.rand(*sizes.outer, sizes.units).to(sizes.dtype),
        **sizes.states("h0"),
        "cm": 0.5 + torch.rand(sizes.units).to(sizes.dtype),
        "synapses": synapses_of(sizes.pattern.nnz, sizes.dtype),
        "pattern": sizes.pattern,
        "unfolds": unfolds,
    }


def synapses_of(nnz: int, dtype: torch.dtype) -> Synapses:
    """Return parameters as a fresh weight draws them, with erev that is not only 1 or -1."""
    values, mu, sigma, erev = torch.rand(4, nnz, dtype=dtype).unbind()
    return Synapses(values, 0.3 + 0.5 * mu, 3 + 5 * sigma, 4 * erev - 2)


class Form(NamedTuple):
    """An operation, and what makes its arguments.

    Attributes:
        operation: its name in ``sparse_engine.ops``.
        arguments: makes them of :class:`Sizes`.
        stages: how many sums follow on each other in a time step, for bounds of errors.
        clips: whether a state has a limit. One that is nearly there may be clipped in one
            precision only.
        narrow: the arguments that are bfloat16 where activations are; empty if none can be.
    """

    operation: str
    arguments: Callable[[Sizes], Arguments]
    stages: int = 1
    clips: bool = False
    narrow: tuple[str, ...] = ("x", "h0")

    @property
    def function(self) -> Callable:
        return getattr(ops, self.operation)

    @property
    def reference(self) -> Callable:
        return getattr(ops, self.operation).reference

    @property
    def packable(self) -> bool:
        return self.operation in GATES

    def problem(
        self,
        pattern: Pattern,
        steps: int,
        batch: int,
        dtype: torch.dtype = torch.float64,
        *,
        initial: bool = True,
        bias: bool = True,
        lengths: Sequence[int] | None = None,
    ) -> Arguments:
        """Return arguments by name; with ``lengths``, from long to short, of such sequences."""
        if lengths is not None:
            steps, batch = max(lengths), len(lengths)
        return self.arguments(Sizes(pattern, steps, batch, dtype, initial, bias, lengths))

    def narrowed(self, arguments: Arguments) -> Arguments:
        """Return the same arguments with activations in bfloat16."""
        return {
            name: each.bfloat16() if name in self.narrow and each is not None else each
            for name, each in arguments.items()
        }


def _gated(operation: str, **options: object) -> Form:
    arguments = partial(gated, operation=operation, **options)
    return Form(operation, arguments, clips="cell_clip" in options)


def _normed(operation: str, **options: object) -> Form:
    arguments = partial(normed, operation=operation, **options)
    return Form(operation, arguments, clips="cell_clip" in options, narrow=())


def _rhn(depth: int, **options: int) -> Form:
    return Form("rhn", partial(rhn, depth=depth, **options), stages=depth, narrow=("x", "s0"))


def _continuous(operation: str, solver: Solver, **options: object) -> Form:
    stages = options.get("unfolds", 2) * len(solver.nodes)
    arguments = partial(continuous, solver=solver, **options)
    return Form(operation, arguments, stages, clips="clip" in options, narrow=("x",))


_ctrnn, _rate_rnn = partial(_continuous, "ctrnn"), partial(_continuous, "rate_rnn")


def _ltc(unfolds: int) -> Form:
    narrow = ("current", "conductance")
    return Form("ltc", partial(ltc, unfolds=unfolds), stages=128 * unfolds, narrow=narrow)


FORMS: dict[str, Form] = {
    "rnn": _gated("rnn"),
    "rnn, relu": _gated("rnn", nonlinearity="relu"),
    "rnn, dense input": _gated("rnn", inputs=16),
    "lstm": _gated("lstm"),
    "lstm, dense input": _gated("lstm", inputs=17),
    "lstm, projected": _gated("lstm", outputs=3),
    "lstm, projected and clipped": _gated("lstm", outputs=1, cell_clip=0.4),
    "gru": _gated("gru"),
    "gru, dense input": _gated("gru", inputs=5),
    "mgu": _gated("mgu"),
    "mgu, dense input": _gated("mgu", inputs=5),
    "normed_rnn": _normed("normed_rnn"),
    "normed_rnn, relu": _normed("normed_rnn", affine=False, nonlinearity="relu"),
    "normed_lstm": _normed("normed_lstm"),
    "normed_lstm, clipped": _normed("normed_lstm", affine=False, cell_clip=0.4),
    "rhn": _rhn(2),
    "rhn, one level": _rhn(1),
    "rhn, separate gates": _rhn(3, blocks=3, fed=2),
    "rhn, no input": _rhn(2, fed=0),
    "on_lstm": Form("on_lstm", on_lstm),
    "on_lstm, chunks of one": Form("on_lstm", partial(on_lstm, most=1)),
    "ctrnn": _ctrnn(Euler()),
    "ctrnn, Heun": _ctrnn(Heun()),
    "ctrnn, RK4": _ctrnn(RK4()),
    "ctrnn, clipped": _ctrnn(RK4(), unfolds=3, clip=0.4),
    "rate_rnn": _rate_rnn(Euler()),
    "rate_rnn, relu": _rate_rnn(RK4(), nonlinearity="relu"),
    "rate_rnn, softplus": _rate_rnn(Euler(), nonlinearity="softplus"),
    "rate_rnn, sigmoid": _rate_rnn(RK4(), nonlinearity="sigmoid"),
    "rate_rnn, clipped": _rate_rnn(Euler(), unfolds=3, clip=0.4),
    "ltc": _ltc(3),
    "ltc, one unfold": _ltc(1),
}
#: Where episodes begin, of a number of steps and sequences.
BEGINS: dict[str, Callable[[int, int], Tensor] | None] = {
    "never": None,
    "some": lambda steps, batch: torch.rand(steps, batch) < 0.3,
    "none": lambda steps, batch: torch.zeros(steps, batch, dtype=torch.bool),
    "all": lambda steps, batch: torch.ones(steps, batch, dtype=torch.bool),
    "first step": lambda steps, batch: (torch.arange(steps) == 0)[:, None].repeat(1, batch),
    "one sequence": lambda steps, batch: (torch.arange(batch) == batch // 2).repeat(steps, 1),
}
PACKABLE = [name for name, form in FORMS.items() if form.packable]
NARROW = [name for name, form in FORMS.items() if form.narrow and not form.clips]

#: What a gradient has no sum over sequences in.
PER_SEQUENCE = ("result", "x", "h0", "c0", "s0", "current", "conductance", "dt")


def leaves_of(arguments: Arguments, *, constants: bool = False) -> dict[str, Tensor]:
    """Return all tensors of real numbers by name, also those inside of others.

    With ``constants``, those without a gradient are among them.
    """
    named = {_name_of(path): each for path, each in tree_flatten_with_path(arguments)[0]}
    return {n: each for n, each in named.items() if is_real(each) and (constants or n != "mask")}


def with_leaves(arguments: Arguments, leaves: Mapping[str, Tensor]) -> Arguments:
    """Return the same arguments with other tensors, as :func:`leaves_of` names them."""

    def replaced(path: tuple, each: object) -> object:
        return leaves.get(_name_of(path), each)

    return tree_map_with_path(replaced, arguments)


def _name_of(path: tuple) -> str:
    return keystr(path).lstrip("['").replace("']", "")


def cast(arguments: Arguments, dtype: torch.dtype = torch.float64) -> Arguments:
    """Return the same numbers in another dtype."""
    leaves = leaves_of(arguments, constants=True)
    return with_leaves(arguments, {name: leaf.to(dtype) for name, leaf in leaves.items()})


def upstream_of(results: Sequence[Tensor]) -> list[Tensor]:
    """Return random gradients of results, which every dtype represents."""
    generator = torch.Generator().manual_seed(2)
    return [
        torch.randn(each.shape, generator=generator).bfloat16().to(each.dtype) for each in results
    ]


def outcome(
    function: Callable, arguments: Arguments, wanted: Sequence[str] | None = None
) -> dict[str, Tensor]:
    """Return the results, and the gradients of real tensors, by name; of all unless ``wanted``."""
    leaves = {
        name: leaf.detach().clone().requires_grad_()
        for name, leaf in leaves_of(arguments).items()
        if wanted is None or name in wanted
    }
    results = as_tuple(function(**with_leaves(arguments, leaves)))
    pairs = zip(results, upstream_of(results), strict=True)
    ys, dys = zip(*[(y, dy) for y, dy in pairs if y.requires_grad], strict=True)
    grads = torch.autograd.grad(ys, [*leaves.values()], dys, materialize_grads=True)
    found = {f"result {i}": each.detach() for i, each in enumerate(results)}
    return found | dict(zip(leaves, grads, strict=True))


def check(form: Form, arguments: Arguments) -> None:
    """Check results and gradients against the reference implementation in double precision.

    Where activations are bfloat16, by :func:`check_narrow`.
    """
    if any(each.dtype == torch.bfloat16 for each in leaves_of(arguments).values()):
        return check_narrow(form, arguments)
    found = outcome(form.function, arguments)
    exact = outcome(form.reference, cast(arguments))
    patterns = arguments.get("patterns") or [arguments["pattern"]]
    fan = 1 + patterns[0].shape[1]
    fan += sum(int(p.crow.diff().max()) + int(p.t_crow.diff().max()) for p in patterns)
    first = next(iter(arguments.values()))
    sizes = arguments.get("batch_sizes")
    steps = len(first) if sizes is None else len(sizes)
    batch = first.shape[-2] if sizes is None else int(sizes[0])
    for name, wanted in exact.items():
        terms = fan * (first.shape[-1] if "w_input" in arguments else 1) * steps * form.stages
        terms *= 1 if name.startswith(PER_SEQUENCE) else batch
        assert_scaled_sums(found[name], wanted, terms * (fan if name == "dt" else 1))


def check_narrow(form: Form, arguments: Arguments, bound: float = 2**-7) -> None:
    """Check every result and gradient as a whole, and its dtype, by two roundings of bfloat16."""
    found = outcome(form.function, arguments)
    for name, wanted in outcome(form.reference, cast(arguments)).items():
        narrow = name == "result 0" or name in form.narrow
        assert found[name].dtype == (torch.bfloat16 if narrow else torch.float32), name
        error = (found[name].double() - wanted).norm()
        assert error <= bound * wanted.norm() + 1e-6, (name, float(error / wanted.norm()))
