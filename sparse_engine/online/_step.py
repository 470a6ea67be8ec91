"""One time step of a layer with its derivatives, all of which are elementwise in units."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sparse_engine import ops
from sparse_engine.nn.cell import Cell, Layer, zoned_out
from sparse_engine.nn.weight import SparseWeight

#: Argument of the equations of a step: ``("state", i)``, ``("input", 0)``, ``("product", k)`` for
#: the k-th product that the step takes, or ``("argument", name)``.
Leaf = tuple[str, Any]

#: Derivatives of one quantity with one entry per unit, by what it depends on: entry ``[lane, row]``
#: is the derivative of unit ``row % units`` by that row of the leaf.
Slopes = dict[Leaf, Tensor]


@dataclass(eq=False)
class Step:
    """One time step of a layer.

    Attributes:
        x: what the layer read, ``[lanes, inputs]``.
        sources: what each product multiplied, ``[lanes, units]``.
        levels: which recurrent weight took each product.
        of_sources: slopes of each source.
        of_states: slopes of each state after the step.
        states: the states after the step, ``[lanes, units]``.
        to_next_layer: what the next layer reads of the first state.
    """

    x: Tensor
    sources: list[Tensor]
    levels: list[int]
    of_sources: list[Slopes]
    of_states: list[Slopes]
    states: tuple[Tensor, ...]
    to_next_layer: Callable[[Tensor], Tensor]

    @cached_property
    def read(self) -> tuple[Tensor, Tensor]:
        """What the next layer reads, and its slope by the first state, ``[lanes, units]``."""
        state = _leaf(self.states[0])
        with torch.enable_grad():
            found = self.to_next_layer(state)
        return found.detach(), torch.autograd.grad(found, state, torch.ones_like(found))[0]

    @cached_property
    def stacked(self) -> tuple[Tensor, Tensor, Tensor]:
        """The slopes of a step with one product, as the operation ``influence`` takes them."""
        lanes, units = self.states[0].shape
        states = range(len(self.states))

        def of(slopes: Slopes, leaf: Leaf, blocks: int = 1) -> Tensor:
            found = slopes.get(leaf)
            found = self.x.new_zeros(lanes, blocks * units) if found is None else found
            return found.view(lanes, blocks, units)

        def by_states(slopes: Slopes) -> Tensor:
            return torch.cat([of(slopes, ("state", s)) for s in states], 1)

        product = "product", 0
        gates = max(each[product].shape[1] for each in self.of_states if product in each) // units
        return (
            by_states(self.of_sources[0]),
            torch.stack([by_states(each) for each in self.of_states], 1),
            torch.stack([of(each, product, gates) for each in self.of_states], 1),
        )


class Traced(NamedTuple):
    """One time step of a layer with autograd's graph of the parts between its products."""

    leaves: dict[Leaf, Tensor]
    sources: list[Tensor]
    levels: list[int]
    states: tuple[Tensor, ...]


def learned_arguments(cell: Cell, layer: Layer, units: int) -> dict[str, Tensor]:
    """Return the arguments of a cell's step that depend on parameters, one entry per unit."""
    return {
        name: each.expand(units)
        for name, each in cell.arguments(layer).items()
        if isinstance(each, Tensor) and each.requires_grad
    }


def trace(
    cell: Cell, layer: Layer, x: Tensor, state: tuple[Tensor, ...], dt: Tensor | None
) -> Traced:
    """Take one time step of a layer, in which every product is a leaf of autograd's graph."""
    with torch.no_grad():
        v = cell.input_sums(layer, x.unsqueeze(0))[0]
        multiply = cell.product(layer)
    leaves: dict[Leaf, Tensor] = {("state", i): _leaf(each) for i, each in enumerate(state)}
    leaves["input", 0] = _leaf(v)
    given = dict(cell.arguments(layer))
    for name, each in learned_arguments(cell, layer, state[0].shape[1]).items():
        given[name] = leaves["argument", name] = _leaf(each.expand_as(state[0]))
    sources: list[Tensor] = []
    levels: list[int] = []

    def product(source: Tensor, *level: int) -> Tensor:
        with torch.no_grad():
            sums = multiply(source.detach(), *level)
        leaf = leaves["product", len(sources)] = _leaf(sums)
        sources.append(source)
        levels.append(level[0] if level else 0)
        return leaf

    step: Any = partial(cell.step, **given)
    if cell.zoneout:
        rates = cell.zoneout if isinstance(cell.zoneout, tuple) else (cell.zoneout,)
        step = partial(zoned_out, step, rates * len(cell.states), False)
    before = tuple(leaves["state", i] for i in range(len(state)))
    timed = {"dt": dt.unsqueeze(-1)} if dt is not None else {}
    with torch.enable_grad():
        after = step(leaves["input", 0], product, before, **timed)
    return Traced(leaves, sources, levels, tuple(after))


def take_step(
    cell: Cell, layer: Layer, x: Tensor, state: tuple[Tensor, ...], dt: Tensor | None
) -> Step:
    """Take one time step of a layer, with its derivatives."""
    traced = trace(cell, layer, x, state, dt)
    of_sources = [slopes(traced, each) for each in traced.sources]
    of_states = [slopes(traced, each) for each in traced.states]
    states = tuple(each.detach() for each in traced.states)
    sources = [each.detach() for each in traced.sources]
    return Step(x, sources, traced.levels, of_sources, of_states, states, cell.to_next_layer)


def adds_product(traced: Traced) -> bool:
    """Whether a step depends on its one product by the sum of that and the input sums alone."""
    none = torch.empty(0)
    found = [slopes(traced, each) for each in (*traced.sources, *traced.states)]
    pairs = [(of.get(("input", 0), none), of.get(("product", 0), none)) for of in found]
    return len(traced.sources) == 1 and all(torch.equal(a, b) for a, b in pairs)


def slopes(traced: Traced, of: Tensor, by: Tensor | None = None) -> Slopes:
    """Return the derivatives of the sum of a quantity over units, weighted by ``by``, or by 1.

    With 1 these are the elementwise derivatives, because no unit depends on an entry of another.
    """
    if not of.requires_grad:
        return {}
    by = torch.ones_like(of) if by is None else by
    if own := [leaf for leaf, each in traced.leaves.items() if each is of]:
        return {own[0]: by}
    options: dict[str, Any] = {"retain_graph": True, "allow_unused": True}
    found = torch.autograd.grad(of, [*traced.leaves.values()], by, **options)
    return {leaf: each for leaf, each in zip(traced.leaves, found, strict=True) if each is not None}


@torch.no_grad()
def backpropagate(weights: list[SparseWeight], step: Step, gradient: Tensor) -> dict[Leaf, Tensor]:
    """Return the gradient by input and products of this step, given that by the first state."""
    found: dict[Leaf, Tensor] = {}

    def add(gradient: Tensor, slopes: Slopes) -> None:
        for leaf, slope in slopes.items():
            term = gradient.repeat(1, slope.shape[1] // gradient.shape[1]) * slope
            found[leaf] = found[leaf] + term if leaf in found else term

    add(gradient, step.of_states[0])
    for k in reversed(range(len(step.sources))):
        of_product = found.get(("product", k))
        if of_product is not None and any(kind != "state" for kind, _ in step.of_sources[k]):
            weight = weights[step.levels[k]]
            of_source = ops.spmm_t(weight.values.detach(), weight.pattern, of_product.t()).t()
            add(of_source, step.of_sources[k])
    return found


def _leaf(tensor: Tensor) -> Tensor:
    return tensor.detach().clone().requires_grad_()
