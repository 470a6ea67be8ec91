"""Parameters whose influence a learner carries, one entry for each number that is learned."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from sparse_engine import ops
from sparse_engine.nn import Recurrent, SparseWeight
from sparse_engine.online._step import Leaf, Slopes, Step, learned_arguments

#: All lanes.
ALL = slice(None)


@dataclass
class Entries:
    """Numbers of one parameter that enter the sums, or an argument, of the units of a layer.

    Attributes:
        name: name of the parameter, or of what is computed from parameters.
        layer: number of the layer.
        kind: kind of the leaf that the numbers enter, and ``which`` of them: the level of a
            product, or the name of an argument.
        parameter: returns the tensor of these numbers, attached to its parameters.
        weight: the sparse weight whose links these are, or None.
        at: otherwise row and column of each number; see :attr:`rows` and :attr:`columns`.
    """

    name: str
    layer: int
    kind: str
    which: Any
    parameter: Callable[[], Tensor]
    weight: SparseWeight | None = None
    at: tuple[Tensor | None, Tensor | None] = (None, None)

    @property
    def count(self) -> int:
        """Number of entries."""
        return self.rows.numel() if self.weight is None else self.weight.nnz

    @property
    def rows(self) -> Tensor:
        """Row of the leaf that each number enters."""
        rows = self.at[0] if self.weight is None else self.weight.rows()
        assert rows is not None
        return rows

    @property
    def columns(self) -> Tensor | None:
        """Feature of the source that each number multiplies; None where the source is 1."""
        return self.at[1] if self.weight is None else self.weight.col_indices

    @property
    def height(self) -> int:
        """Number of rows of the leaf, ``gates * units``."""
        return self.weight.shape[0] if self.weight is not None else int(self.rows[-1]) + 1

    def immediate(self, step: Step, of: Slopes, lanes: slice = ALL) -> Tensor | None:
        """Return the derivative of a quantity by each number in this step, ``[lanes, entries]``.

        It belongs to the number's own unit. None where the quantity depends on none of them.
        """
        total = None
        for leaf, slope in of.items():
            if self._enters(leaf, step):
                source = None
                if self.columns is not None:
                    source = (step.x if self.kind == "input" else step.sources[leaf[1]])[lanes]
                term = self.spread(slope[lanes], source)
                total = term if total is None else total.add_(term)
        return total

    def spread(self, of_rows: Tensor, of_columns: Tensor | None = None) -> Tensor:
        """Return each number's row of one, times its column of another, ``[lanes, entries]``."""
        if self.weight is None:
            found = torch.stack([each.index_select(0, self.rows) for each in of_rows])
            if of_columns is not None and self.columns is not None:
                found *= torch.stack([each.index_select(0, self.columns) for each in of_columns])
            return found
        if of_columns is None:
            of_columns = of_rows.new_ones(1, self.weight.shape[1]).expand(len(of_rows), -1)
        pairs = zip(of_rows.unsqueeze(2).unbind(), of_columns.unsqueeze(2).unbind(), strict=True)
        lanes = [ops.sddmm(self.weight.pattern, *pair) for pair in pairs]
        return lanes[0].unsqueeze(0) if len(lanes) == 1 else torch.stack(lanes)

    def moved(self, weight: SparseWeight, slot_map: Tensor) -> Tensor | None:
        """Return where each entry is after links of ``weight`` moved, -1 for one that is gone.

        None where no entry is a link of that weight.
        """
        return slot_map if self.weight is weight else None

    def _enters(self, leaf: Leaf, step: Step) -> bool:
        kind, which = leaf
        return kind == self.kind and self.which == (
            step.levels[which] if kind == "product" else which
        )


class Together(Entries):
    """Entries of several parameters of a layer, one after the other."""

    def __init__(self, members: list[Entries]) -> None:
        first = members[0]
        super().__init__(f"l{first.layer}", first.layer, "", None, self._numbers)
        self.members = members

    def _numbers(self) -> Tensor:
        return torch.cat([each.parameter().flatten() for each in self.members])

    @property
    def count(self) -> int:
        """Number of entries."""
        return sum(each.count for each in self.members)

    @property
    def rows(self) -> Tensor:
        """Row of the leaf that each number enters."""
        return torch.cat([each.rows for each in self.members])

    def immediate(self, step: Step, of: Slopes, lanes: slice = ALL) -> Tensor:
        """Return the derivative of a quantity by each number in this step."""
        found = step.x[lanes].new_zeros(len(step.x[lanes]), self.count)
        for each, at in zip(self.members, found.split(self._counts(), 1), strict=True):
            if (now := each.immediate(step, of, lanes)) is not None:
                at.copy_(now)
        return found

    def moved(self, weight: SparseWeight, slot_map: Tensor) -> Tensor | None:
        """Return where each entry is after links of ``weight`` moved, -1 for one that is gone."""
        if not any(each.weight is weight for each in self.members):
            return None
        found, begin = [], 0
        for each in self.members:
            at = slot_map.long() if each.weight is weight else torch.arange(each.count)
            found.append(torch.where(at >= 0, at + begin, -1))
            begin += each.count
        return torch.cat(found)

    def _counts(self) -> list[int]:
        return [each.count for each in self.members]


def entries_of(network: Recurrent, one_bias: bool) -> list[Entries]:
    """Return the entries of all layers that take gradients.

    With ``one_bias`` both biases of a row enter its sum alike, and share one entry.
    """
    found = []
    for number, (name, inputs) in enumerate(network.layers()):
        layer, cell = network.layer(name), network.cell
        weight = layer["weight_ih"]
        if isinstance(weight, SparseWeight):
            found.append(_links(f"weight_ih_{name}", number, "input", 0, weight))
        else:
            own = partial(getattr, network, f"weight_ih_{name}")
            rows, columns = torch.arange(weight.numel()), torch.arange(inputs)
            at = (rows // inputs).int(), columns.repeat(weight.shape[0]).int()
            found.append(Entries(f"weight_ih_{name}", number, "input", 0, own, at=at))
        weights = cell.recurrent_weights(layer)
        for level, each in enumerate(weights):
            title = f"weight_hh_{name}" + (f".{level}" if len(weights) > 1 else "")
            found.append(_links(title, number, "product", level, each))
        of_input, of_product = cell.biases(layer)
        if one_bias and of_input is not None and of_product is not None:
            both = partial(_sum_of_biases, network, name)
            rows = torch.arange(of_input.numel())
            found.append(Entries(f"bias_{name}", number, "input", 0, both, at=(rows, None)))
            of_input = of_product = None
        if of_input is not None:
            own = partial(_bias, network, name, 0)
            rows = torch.arange(of_input.numel())
            found.append(Entries(f"bias_ih_{name}", number, "input", 0, own, at=(rows, None)))
        for level in range(len(weights) if of_product is not None else 0):
            own = partial(_bias, network, name, 1, level)
            rows = torch.arange(own().numel())
            found.append(
                Entries(f"bias_hh_{name}.{level}", number, "product", level, own, at=(rows, None))
            )
        for argument in learned_arguments(cell, layer, network.hidden_size):
            own = partial(_argument, network, name, argument)
            rows = torch.arange(network.hidden_size)
            found.append(
                Entries(f"{argument}_{name}", number, "argument", argument, own, at=(rows, None))
            )
    return [each for each in found if each.parameter().requires_grad]


def _links(name: str, layer: int, kind: str, which: int, weight: SparseWeight) -> Entries:
    return Entries(name, layer, kind, which, partial(getattr, weight, "values"), weight)


def _bias(network: Recurrent, name: str, side: int, level: int = 0) -> Tensor:
    bias = network.cell.biases(network.layer(name))[side]
    assert bias is not None
    return bias[level] if bias.dim() == 2 else bias


def _sum_of_biases(network: Recurrent, name: str) -> Tensor:
    return _bias(network, name, 0) + _bias(network, name, 1)


def _argument(network: Recurrent, name: str, argument: str) -> Tensor:
    return learned_arguments(network.cell, network.layer(name), network.hidden_size)[argument]
