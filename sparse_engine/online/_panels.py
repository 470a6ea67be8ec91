"""Exact influence of cells with one product in each step, carried by one native operation."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from sparse_engine.nn import SparseWeight
from sparse_engine.online._entries import Entries
from sparse_engine.online._influence import Influence, Weights
from sparse_engine.online._step import Step, Traced, slopes
from sparse_engine.ops.influence import COLUMNS, influence
from sparse_engine.ops.pattern import Pattern


def fits_panels(traced: Traced) -> bool:
    """Whether a step has one product, of a function of the states alone, and few states."""
    if len(traced.sources) != 1 or len(traced.states) > 2:
        return False
    return all(kind == "state" for kind, _ in slopes(traced, traced.sources[0]))


class _Pending(NamedTuple):
    """A step that the influence has not been carried over yet."""

    values: Tensor
    of_source: Tensor
    of_state: Tensor
    of_product: Tensor
    immediate: Tensor


class Panels(Influence):
    """Influence on all units of the last layer, ``[lanes, panels, states, units, 64]``.

    A step is carried over when the gradient of its loss is there, in one pass through memory, or
    else when the influence is needed next.
    """

    def __init__(
        self,
        entries: Entries,
        lanes: int,
        states: int,
        units: int,
        weight: SparseWeight,
        dtype: torch.dtype,
    ) -> None:
        self.entries, self.units, self.states, self.lanes = entries, units, states, lanes
        self._pending: _Pending | None = None
        self._read(weight)
        shape = lanes, self._unit.numel() // COLUMNS, states, units, COLUMNS
        self._parts = [torch.zeros(shape, dtype=dtype)]

    def _read(self, weight: SparseWeight) -> None:
        # Copies, as a rewiring may come before the step is carried over.
        self._pattern = Pattern(*(each.clone() for each in weight.pattern))
        count = self.entries.count
        self._unit = torch.zeros(-(-count // COLUMNS) * COLUMNS, dtype=torch.int32)
        self._unit[:count] = self.entries.rows % self.units

    @property
    def parts(self) -> list[Tensor]:  # type: ignore[override]
        """The influence after the last step."""
        self._carry()
        return self._parts

    def advance(self, steps: list[Step], weights: list[Weights]) -> None:
        """Note one time step, after the one before has been carried over."""
        self._carry()
        step = steps[self.entries.layer]
        (weight,) = weights[self.entries.layer].recurrent
        immediate = step.x.new_zeros(self.lanes, self.states, self._unit.numel())
        for t, each in enumerate(step.of_states):
            now = self.entries.immediate(step, each)
            if now is not None:
                immediate[:, t, : now.shape[1]] = now
        self._pending = _Pending(weight.values.detach().clone(), *step.stacked, immediate)

    def gradient(self, of_states: list[Tensor]) -> Tensor:
        """Return the gradient of every entry, and carry the influence over the step with it."""
        found = self._carry(of_states[-1])
        if found is None:
            part = self._parts[0][:, :, 0].to(of_states[-1].dtype)
            found = torch.einsum("bi,bpic->pc", of_states[-1], part).ravel()
        return found[: self.entries.count]

    def move(self, slot_map: Tensor | None, weights: list[SparseWeight]) -> None:
        """Move the influence of each link to its new place, 0 for a new link."""
        (part,) = self.parts
        self._read(weights[0])
        if slot_map is not None:
            old = (slot_map >= 0).nonzero().squeeze(1)
            new, lanes = slot_map[old].long(), self.lanes
            moved = part.new_zeros(lanes, self._unit.numel() // COLUMNS, *part.shape[2:])
            to, source = (each.movedim(4, 2).flatten(1, 2) for each in (moved, part))
            to = to.contiguous()
            to[:, new] = source[:, old]
            moved = to.unflatten(1, (-1, COLUMNS)).movedim(2, 4).contiguous()
            self._parts = [moved]

    def _carry(self, upstream: Tensor | None = None) -> Tensor | None:
        if self._pending is None:
            return None
        step, self._pending = self._pending, None
        return influence(
            self._parts[0],
            step.values,
            self._pattern,
            step.of_source,
            step.of_state,
            step.of_product,
            step.immediate,
            self._unit,
            None if upstream is None else upstream.contiguous(),
        )
