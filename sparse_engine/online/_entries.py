"""Parameters whose influence a learner carries, one entry for each number that is learned."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from sparse_engine.nn import Recurrent, SparseWeight
from sparse_engine.online._step import Leaf, Slopes, Step, learned_arguments


@dataclass
class Entries:
    """Numbers of one parameter that enter the sums, or an argument, of the units of a layer.

    Attributes:
        name: name of the parameter, or of what is computed from parameters.
        layer: number of the layer.
        kind: kind of the leaf that the numbers enter, and ``which`` of them: the level of a
            product, or the name of an argument.
        parameter: returns the tensor of these numbers, attached to its parameters.
        rows: row of the leaf that each number enters.
        columns: feature of the source that each number multiplies; None where the source is 1.
        weight: the sparse weight whose links these are, or None.
    """

    name: str
    layer: int
    kind: str
    which: Any
    parameter: Callable[[], Tensor]
    rows: Tensor
    columns: Tensor | None = None
    weight: SparseWeight | None = None

    def read_links(self) -> None:
        """Read the links again, which may have changed."""
        if self.weight is not None:
            self.rows, self.columns = self.weight.rows().int(), self.weight.col_indices.clone()

    def immediate(self, step: Step, of: Slopes) -> Tensor | None:
        """Return the derivative of a quantity by each number in this step, ``[lanes, entries]``.

        It belongs to the number's own unit. None where the quantity depends on none of them.
        """
        total = None
        for leaf, slope in of.items():
            if self._enters(leaf, step):
                term = slope.index_select(1, self.rows)
                if self.columns is not None:
                    source = step.x if self.kind == "input" else step.sources[leaf[1]]
                    term *= source.index_select(1, self.columns)
                total = term if total is None else total.add_(term)
        return total

    def _enters(self, leaf: Leaf, step: Step) -> bool:
        kind, which = leaf
        return kind == self.kind and self.which == (
            step.levels[which] if kind == "product" else which
        )

    @torch.enable_grad()
    def add_gradient(self, gradient: Tensor) -> None:
        """Add the gradient of each number to ``.grad`` of the parameters."""
        parameter = self.parameter()
        parameter.backward(gradient.view_as(parameter).to(parameter.dtype))


def entries_of(network: Recurrent) -> Iterator[Entries]:
    """Yield the entries of all layers that take gradients."""
    for number, (name, inputs) in enumerate(network.layers()):
        layer = network.layer(name)
        of = partial(Entries, layer=number)
        weight = layer["weight_ih"]
        if isinstance(weight, SparseWeight):
            yield from _of_weight(of, f"weight_ih_{name}", weight, "input", 0)
        elif weight.requires_grad:
            places = torch.arange(weight.numel())
            own = partial(getattr, network, f"weight_ih_{name}")
            at = {"rows": (places // inputs).int(), "columns": (places % inputs).int()}
            yield of(name=f"weight_ih_{name}", kind="input", which=0, parameter=own, **at)
        weights = network.cell.recurrent_weights(layer)
        for level, each in enumerate(weights):
            full = f"weight_hh_{name}" + (f".{level}" if len(weights) > 1 else "")
            yield from _of_weight(of, full, each, "product", level)
        of_input, of_product = network.cell.biases(layer)
        if of_input is not None and of_input.requires_grad:
            own = partial(_bias, network, name, 0)
            at = {"rows": torch.arange(of_input.numel())}
            yield of(name=f"input bias of {name}", kind="input", which=0, parameter=own, **at)
        if of_product is not None and of_product.requires_grad:
            own = partial(_bias, network, name, 1)
            for level in range(len(weights)):
                mine = partial(_of_level, own, level) if of_product.dim() == 2 else own
                at = {"rows": torch.arange(of_product.shape[-1])}
                title = f"bias {level} of {name}"
                yield of(name=title, kind="product", which=level, parameter=mine, **at)
        for argument in learned_arguments(network.cell, layer, network.hidden_size):
            own = partial(_argument, network, name, argument)
            at = {"rows": torch.arange(network.hidden_size)}
            title = f"{argument} of {name}"
            yield of(name=title, kind="argument", which=argument, parameter=own, **at)


def _of_weight(
    of: Callable[..., Entries], name: str, weight: SparseWeight, kind: str, which: int
) -> Iterator[Entries]:
    if weight.values.requires_grad:
        own = partial(getattr, weight, "values")
        made = of(
            name=name, kind=kind, which=which, parameter=own, rows=weight.rows(), weight=weight
        )
        made.read_links()
        yield made


def _bias(network: Recurrent, name: str, side: int) -> Tensor | None:
    return network.cell.biases(network.layer(name))[side]


def _of_level(biases: Callable[[], Tensor], level: int) -> Tensor:
    return biases()[level]


def _argument(network: Recurrent, name: str, argument: str) -> Tensor:
    return learned_arguments(network.cell, network.layer(name), network.hidden_size)[argument]
