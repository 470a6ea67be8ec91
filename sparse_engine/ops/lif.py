"""Recurrence of leaky integrate-and-fire units over whole sequences, and its simulation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sparse_engine.ops._dispatch.fake import fake
from sparse_engine.ops._dispatch.native import native, saves_for_backward
from sparse_engine.ops._dispatch.sequence import Shapes, sequence_operation
from sparse_engine.ops._sequence import Given, Product, sequence_of
from sparse_engine.ops.pattern import Pattern

#: The surrogates by the names of their classes, in the order in which kernels number them.
SURROGATES = ("SuperSpike", "ATan", "Triangle")


@dataclass(frozen=True)
class Unit:
    """Numbers of a leaky integrate-and-fire unit, for steps of one length.

    A step adds what arrives to the current i, or to its rise g, and then takes ``leak v +
    of_current i + of_rise g`` for the potential v, ``decay i + rise g`` for i and ``decay g`` for
    g. Without a rise, ``of_rise`` and ``rise`` are 0.

    Attributes:
        threshold, reset: potentials above which the unit spikes, and after a spike.
        refractory: steps after a spike in which the potential stays.
        delay: steps until a spike arrives, at least 1.
        alpha: whether there is a rise.
        keeps_current: whether currents go on through a spike and the steps after it.
        surrogate: the spike as a function of the potential above threshold.
    """

    leak: float
    of_current: float
    of_rise: float
    decay: float
    rise: float
    threshold: float
    reset: float
    refractory: int
    delay: int
    alpha: bool
    keeps_current: bool
    surrogate: Any

    @property
    def states(self) -> tuple[str, ...]:
        """Names of the states, the output first."""
        rise = ("g0",) if self.alpha else ()
        resting = ("r0",) if self.refractory or not self.keeps_current else ()
        waiting = ("d0",) if self.delay > 1 else ()
        return "h0", "v0", "i0", *rise, *resting, *waiting

    @property
    def numbers(self) -> list[float]:
        """The numbers in the order of the kernels."""
        solution = self.leak, self.of_current, self.of_rise, self.decay, self.rise
        return [*solution, self.threshold, self.reset, getattr(self.surrogate, "scale", 1.0)]

    @property
    def kernel_options(self) -> tuple[int, int, bool, bool]:
        """Further arguments of the kernels."""
        return self.delay, self.refractory, self.alpha, self.keeps_current

    @property
    def code(self) -> int | None:
        """The number of the surrogate, or None where kernels do not have it."""
        name = type(self.surrogate).__name__
        known = type(self.surrogate).__module__ == "sparse_engine.nn.spikes"
        return SURROGATES.index(name) if known and name in SURROGATES else None


def lif_step(
    v: Tensor, product: Product, state: tuple[Tensor, ...], *, unit: Unit
) -> tuple[Tensor, ...]:
    """Compute one time step: arrivals, membranes, spikes, resets."""
    now = dict(zip(unit.states, state, strict=True))
    sent = spikes = now["h0"]
    if "d0" in now:  # the oldest spikes first
        sent, waiting = now["d0"].tensor_split([spikes.shape[-1]], -1)
        now["d0"] = torch.cat([waiting, spikes], -1)
    arrived = v + product(sent)
    resting = torch.zeros_like(spikes, dtype=torch.bool)
    if "r0" in now:
        if not unit.keeps_current:
            arrived = arrived.masked_fill(now["r0"] > 0, 0)
        now["r0"] = (now["r0"].detach() - 1).clamp(min=0)
        resting = now["r0"] > 0
    into = "g0" if unit.alpha else "i0"
    now[into] = now[into] + arrived
    moved = unit.leak * now["v0"] + unit.of_current * now["i0"]
    now["i0"] = unit.decay * now["i0"]
    if unit.alpha:
        moved = moved + unit.of_rise * now["g0"]
        now["i0"] = now["i0"] + unit.rise * now["g0"]
        now["g0"] = unit.decay * now["g0"]
    moved = torch.where(resting, now["v0"], moved)
    above = moved - unit.threshold
    fires = (above > 0) & ~resting
    now["h0"] = unit.surrogate(above).masked_fill(resting, 0)
    now["v0"] = torch.where(fires, unit.reset, moved)
    if "r0" in now:
        now["r0"] = torch.where(fires, unit.refractory + 1.0, now["r0"]).to(v.dtype)
        if not unit.keeps_current:
            for name in {"i0", into}:
                now[name] = now[name].masked_fill(fires | resting, 0)
    return tuple(now[name] for name in unit.states)


def _states(shapes: Shapes, batch: Any) -> Tensor:
    return shapes.values(3 if shapes.given["alpha"] else 2, batch, shapes.rows)


def _results(shapes: Shapes) -> tuple[Tensor, ...]:
    given, batch = shapes.given, shapes.first.shape[1]
    rests = given["refractory"] > 0 or not given["keeps_current"]
    of_rests = shapes.values(batch, shapes.rows) if rests else shapes.nothing()
    return (
        shapes.every_step(shapes.rows),
        shapes.kept(shapes.rows),
        _states(shapes, batch),
        of_rests,
    )


def _of_states(shapes: Shapes) -> Tensor:
    wanted = shapes.given["wants_state"]
    return _states(shapes, shapes.first.shape[1]) if wanted else shapes.nothing()


_lif = sequence_operation("lif", _results, gradients={"state": _of_states})


def _prepare(given: Given) -> Given:
    """Return the loop by a dense weight, from zeros where there is no state."""
    weight, bias, x, unit = (given[name] for name in ("values", "bias", "x", "unit"))
    dense = given["pattern"].dense(weight)
    sizes = [dense.shape[1] * (unit.delay - 1 if name == "d0" else 1) for name in unit.states]
    state = given["state"] or [None] * len(sizes)
    zeros = (x.new_zeros(x.shape[1], size) for size in sizes)
    start = [zero if own is None else own for own, zero in zip(state, zeros, strict=True)]

    def product(h: Tensor) -> Tensor:
        return h @ dense.T if bias is None else h @ dense.T + bias

    return {"product": product, "v": x, "state": start}


@sequence_of(lif_step, _prepare)
def lif(
    x: Tensor,
    state: Sequence[Tensor | None] | None,
    bias: Tensor | None,
    values: Tensor,
    pattern: Pattern,
    *,
    unit: Unit,
) -> tuple[Any, ...]:
    """Run leaky integrate-and-fire units; what a step computes is in :func:`lif_step`.

    In each step the links are found by the spikes that travel along them where these are few, and
    row by row otherwise, as counted; the terms of a sum and their order are the same. Potentials
    above threshold are kept for the backward pass, which visits the links of units that spiked or
    whose surrogate gradient is not zero.

    Args:
        x: ``[steps, batch, units]``, the input's contribution.
        state: a tensor ``[batch, units]`` for each name in ``unit.states``, or None for zeros;
            "d0", the spikes that wait, is ``[batch, (delay - 1) * units]``, the oldest first.
        bias: ``[units]``, or None.
        values: ``[nnz]``.
        pattern: the links of the ``units x units`` weight W.
        unit: what a unit computes.

    Returns:
        The spikes, ``[steps, batch, units]``, 0 and 1, and the final states but the first.

    Raises:
        ValueError: a shape, dtype or device does not fit, or kernels do not have the surrogate.

    Example:
        >>> spikes, state = SparseLIF(3, 64, density=0.1)(torch.ones(50, 2, 3))  # calls it
    """
    if unit.code is None:
        raise ValueError(f"expected a surrogate of {[*SURROGATES]}, found {unit.surrogate!r}")
    given = dict(zip(unit.states, state or [None] * len(unit.states), strict=True))
    steps, batch, units = x.shape
    past = _past(given, unit.delay)
    names = ["v0", "i0", "g0"] if unit.alpha else ["v0", "i0"]
    own = [given[name] for name in names]
    start = None
    if any(each is not None for each in own):
        start = torch.stack([x.new_zeros(batch, units) if s is None else s for s in own])
    rests = given.get("r0")
    rests = None if rests is None else rests.detach()
    keep = saves_for_backward()
    h, u, last, r_n = _lif(
        x, past, start, rests, bias, values, [*pattern], unit.numbers, *unit.kernel_options,
        unit.code, keep,
    )  # fmt: skip
    found = dict(zip(names, last.unbind(), strict=True)) | {"r0": r_n}
    if unit.delay > 1:
        spikes = h[max(0, steps - unit.delay) : -1]
        if steps < unit.delay:
            before = x.new_zeros(unit.delay, batch, units) if past is None else past
            spikes = torch.cat([before[steps:], spikes])
        found["d0"] = spikes.movedim(0, 1).flatten(1)
    return h, *(found[name] for name in unit.states[1:]), u


def _past(given: dict[str, Tensor | None], delay: int) -> Tensor | None:
    """Return the spikes before the first step, ``[delay, batch, units]``, or None for none."""
    spikes, waiting = given["h0"], given.get("d0")
    if spikes is None and waiting is None:
        return None
    if spikes is None:
        assert waiting is not None
        spikes = waiting.new_zeros(len(waiting), waiting.shape[1] // (delay - 1))
    if waiting is None:
        waiting = spikes.new_zeros(len(spikes), (delay - 1) * spikes.shape[1])
    before = waiting.unflatten(1, (delay - 1, spikes.shape[1])).movedim(1, 0)
    return torch.cat([before, spikes.unsqueeze(0)])


@fake("lif_simulate")
def _(**given: Any) -> tuple[Tensor, Tensor]:
    count = torch.library.get_ctx().new_dynamic_size()
    first = given["first_event"]
    return first.new_empty(first.shape), first.new_empty(count, dtype=torch.int32)


#: Simulates one sequence by events, see csrc/include/sparse_engine/lif.h; writes states in place.
simulate: Callable[..., tuple[Tensor, Tensor]] = native.lif_simulate.default
