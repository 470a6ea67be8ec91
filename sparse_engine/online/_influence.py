"""The influence of some entries on states, whole or as far as it is kept, and its update."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from sparse_engine import ops
from sparse_engine.nn import SparseWeight
from sparse_engine.online._entries import Entries
from sparse_engine.online._step import Leaf, Slopes, Step
from sparse_engine.ops.pattern import Links, Pattern

#: Numbers of one quantity in a block of columns: temporaries stay within a cache.
BLOCK = 1 << 18


class Weights(NamedTuple):
    """The weights that a layer multiplies: its own, and that by which it reads the layer below."""

    recurrent: list[SparseWeight]
    input: SparseWeight | Tensor


class Influence(ABC):
    """Derivatives of states by entries, ``[lanes, states, ...]`` for each layer that it reaches."""

    entries: Entries
    parts: list[Tensor]

    @abstractmethod
    def advance(self, steps: list[Step], weights: list[Weights]) -> None:
        """Carry the influence over one time step, given that step of every layer."""

    @abstractmethod
    def gradient(self, of_states: list[Tensor]) -> Tensor:
        """Return the gradient of every entry, given that by the first state of each layer."""

    @abstractmethod
    def move(self, slot_map: Tensor | None, weights: list[SparseWeight]) -> None:
        """Follow links that were rewired; ``slot_map`` is that of these entries, if they were."""

    def forget(self, lanes: Tensor) -> None:
        """Set the influence to zero in some lanes, bool ``[lanes]``."""
        for part in self.parts:
            part[lanes] = 0


class Whole(Influence):
    """Influence on all units of the entries' layer and of those above: ``[..., units, entries]``.

    It is exact. The update multiplies it by the weights: ``J_t = D_t (W J_{t-1}) + I_t``.
    """

    def __init__(self, entries: Entries, lanes: int, states: int, units: int, layers: int) -> None:
        self.entries, self.units = entries, units
        shape = lanes, states, units, entries.count
        dtype = entries.parameter().dtype
        layers -= entries.layer
        self.parts = [torch.zeros(shape, dtype=dtype) for _ in range(layers)]

    def advance(self, steps: list[Step], weights: list[Weights]) -> None:
        """Carry the influence over one time step, by blocks of entries."""
        first = self.entries.layer
        own = steps[first]
        immediate = [self.entries.immediate(own, of) for of in own.of_sources + own.of_states]
        for lane, columns in self._blocks():
            now = [None if each is None else each[lane, columns] for each in immediate]
            below = None
            for layer, part in enumerate(self.parts, first):
                block = _Block(self, lane, columns, now if layer == first else None)
                new = block.after(part, steps[layer], weights[layer], below)
                if part is not self.parts[-1]:
                    below = new[0] * steps[layer].read[1][lane].unsqueeze(1)

    def gradient(self, of_states: list[Tensor]) -> Tensor:
        """Return the gradient of every entry: that by the last layer's output, times influence."""
        return torch.einsum("bi,bie->e", of_states[-1], self.parts[-1][:, 0])

    def move(self, slot_map: Tensor | None, weights: list[SparseWeight]) -> None:
        """Move the influence of each link to its new place, 0 for a new link."""
        if slot_map is not None:
            old = (slot_map >= 0).nonzero().squeeze(1)
            for i, part in enumerate(self.parts):
                self.parts[i] = part.new_zeros(*part.shape[:-1], self.entries.count)
                self.parts[i][..., slot_map[old].long()] = part[..., old]

    def _blocks(self) -> Iterator[tuple[int, slice]]:
        width, count = max(1, BLOCK // self.units), self.entries.count
        for lane in range(self.parts[0].shape[0]):
            for begin in range(0, count, width):
                yield lane, slice(begin, min(begin + width, count))


class _Block(NamedTuple):
    """Some entries of one lane, whose influence on one layer is carried over a step."""

    whole: Whole
    lane: int
    columns: slice
    immediate: list[Tensor | None] | None

    def after(
        self, part: Tensor, step: Step, weights: Weights, below: Tensor | None
    ) -> list[Tensor]:
        """Return the new influence ``[units, entries]`` on each state, and write it to its place.

        ``below`` is the influence on what the layer reads.
        """
        at = part[self.lane, :, :, self.columns]
        flow: dict[Leaf, Tensor] = {("state", i): each for i, each in enumerate(at)}
        if below is not None:
            flow["input", 0] = _multiply(weights.input, below)
        for k, of in enumerate(step.of_sources):
            weight = weights.recurrent[step.levels[k]]
            flow["product", k] = _multiply(weight, self._total(of, flow, k))
        count = len(step.of_sources)
        new = [self._total(of, flow, count + i) for i, of in enumerate(step.of_states)]
        for i, each in enumerate(new):
            at[i] = each
        return new

    def _total(self, of: Slopes, flow: dict[Leaf, Tensor], number: int) -> Tensor:
        units = self.whole.units
        found = torch.zeros_like(flow["state", 0], memory_format=torch.contiguous_format)
        for leaf in of.keys() & flow.keys():
            slopes = of[leaf][self.lane].view(-1, units, 1)
            for slope, each in zip(slopes, flow[leaf].split(units), strict=True):
                found.addcmul_(slope, each)
        now = None if self.immediate is None else self.immediate[number]
        if now is not None:
            unit = self.whole.entries.rows[self.columns].long() % units
            found[unit, torch.arange(unit.numel())] += now
        return found


class Own(Influence):
    """Influence on the entry's own unit alone, ``[lanes, states, entries]``.

    With ``by_links`` it passes through the links of units to themselves, else through no link.
    """

    def __init__(
        self,
        entries: Entries,
        lanes: int,
        states: int,
        units: int,
        by_links: bool,
        weights: list[SparseWeight],
    ) -> None:
        self.entries, self.units, self.by_links = entries, units, by_links
        self._read(weights)
        shape, dtype = (lanes, states, entries.count), entries.parameter().dtype
        self.parts = [torch.zeros(shape, dtype=dtype)]

    def _read(self, weights: list[SparseWeight]) -> None:
        self.gates = self.entries.height // self.units
        self.links = [_self_links(weight, self.units) for weight in weights if self.by_links]

    def advance(self, steps: list[Step], weights: list[Weights]) -> None:
        """Carry the influence over one time step, by blocks of lanes."""
        step, (part,) = steps[self.entries.layer], self.parts
        recurrent = weights[self.entries.layer].recurrent
        of_states = [self._of_unit(of, step, recurrent) for of in step.of_states]
        for at in self._blocks():
            before, new = part[at], []
            for of in of_states:
                total = self.entries.immediate(step, of, at)
                total = torch.zeros_like(before[:, 0]) if total is None else total
                for i in range(part.shape[1]):
                    if ("state", i) in of:
                        self._add(of["state", i][at], before[:, i], total)
                new.append(total)
            for i, total in enumerate(new):
                before[:, i] = total

    def _blocks(self) -> Iterator[slice]:
        lanes = len(self.parts[0])
        width = max(1, BLOCK // max(1, self.entries.count))
        return (slice(begin, begin + width) for begin in range(0, lanes, width))

    def _add(self, slope: Tensor, influence: Tensor, total: Tensor) -> None:
        """Add the influence times the slope of the entry's unit; most slopes may be 0."""
        weight, units = self.entries.weight, slope.any(0).nonzero().squeeze(1)
        if weight is None or 4 * units.numel() > self.units:
            total.addcmul_(self._of_entries(slope), influence)
            return
        rows = (units + self.units * torch.arange(self.gates).unsqueeze(1)).flatten()
        row, slot = _ranges(weight.crow_indices, rows)
        total[:, slot] += slope[:, rows[row] % self.units] * influence[:, slot]

    def _of_entries(self, of_units: Tensor) -> Tensor:
        """Return for each entry what belongs to its unit, ``[lanes, entries]``."""
        return self.entries.spread(of_units if self.gates == 1 else of_units.repeat(1, self.gates))

    def _of_unit(self, of: Slopes, step: Step, weights: list[SparseWeight]) -> Slopes:
        """Return the slopes of a state with those through the links of units to themselves."""
        found = dict(of)
        for k in reversed(range(len(step.sources) if self.links else 0)):
            of_product = found.get(("product", k))
            if of_product is not None:
                rows, slots = self.links[step.levels[k]]
                value = weights[step.levels[k]].values.detach()[slots]
                by = torch.zeros_like(step.sources[k])
                by.index_add_(1, rows % self.units, of_product[:, rows] * value)
                for leaf, slope in step.of_sources[k].items():
                    term = by.repeat(1, slope.shape[1] // self.units) * slope
                    found[leaf] = found[leaf] + term if leaf in found else term
        return found

    def gradient(self, of_states: list[Tensor]) -> Tensor:
        """Return the gradient of every entry: that by its unit's first state, times influence."""
        by, (part,) = of_states[self.entries.layer], self.parts
        found = None
        for at in self._blocks():
            each = self._of_entries(by[at]).mul_(part[at, 0])
            each = each[0] if len(each) == 1 else each.sum(0)
            found = each if found is None else found.add_(each)
        assert found is not None
        return found

    def move(self, slot_map: Tensor | None, weights: list[SparseWeight]) -> None:
        """Move the influence of each link to its new place, 0 for a new link."""
        self._read(weights)
        if slot_map is not None:
            old, (part,) = (slot_map >= 0).nonzero().squeeze(1), self.parts
            self.parts = [part.new_zeros(*part.shape[:2], self.entries.count)]
            self.parts[0][:, :, slot_map[old].long()] = part[:, :, old]


def _self_links(weight: SparseWeight, units: int) -> tuple[Tensor, Tensor]:
    """Return the row and the place of each link from a unit to itself."""
    crow = weight.crow_indices
    unit = torch.arange(units, dtype=torch.int32).repeat(weight.shape[0] // units)
    slots = (weight.col_indices == unit.repeat_interleave(crow.diff())).nonzero().squeeze(1)
    return torch.searchsorted(crow, slots, right=True) - 1, slots


class Kept(Influence):
    """Influence that is kept for some pairs of an entry and a unit: ``[lanes, states, pairs]``.

    A pair is kept where the entry reaches the unit within ``reach`` products, at least 2, the first
    of which is its own.
    """

    def __init__(
        self,
        entries: Entries,
        lanes: int,
        states: int,
        units: int,
        reach: int,
        weights: list[SparseWeight],
    ) -> None:
        self.entries, self.units, self.reach = entries, units, reach
        self._choose(weights)
        shape, dtype = (lanes, states, self.unit.numel()), entries.parameter().dtype
        self.parts = [torch.zeros(shape, dtype=dtype)]

    def _choose(self, weights: list[SparseWeight]) -> None:
        """Choose the pairs, in the order of entries and units, and find the links among them."""
        unit = self.entries.rows.long() % self.units
        own = key = torch.arange(unit.numel()) * self.units + unit
        for _ in range(self.reach - 1):
            further = []
            for weight in weights:
                pair, slot = _links_out_of(key % self.units, weight.pattern)
                at = key[pair] // self.units * self.units
                further.append(at + weight.rows()[slot] % self.units)
            key = torch.cat([key, *further]).unique()
        self.unit, self.entry = (key % self.units).int(), (key // self.units).int()
        self.own = torch.searchsorted(key, own)
        self.links = [self._links(weight.pattern) for weight in weights]

    def _keys(self) -> Tensor:
        """Return one number for each pair, increasing."""
        return self.entry.long() * self.units + self.unit

    def _links(self, pattern: Pattern) -> tuple[Pattern, Tensor]:
        """Return the matrix ``gates * pairs x pairs`` by which pairs read pairs, and its links."""
        rows, pairs = pattern.rows(), self.unit.numel()
        key = self._keys()
        source, slot = _links_out_of(self.unit, pattern)
        row = rows[slot]
        target = key[source] - self.unit[source] + row % self.units
        pair = torch.searchsorted(key, target).clamp(max=pairs - 1)
        found = key[pair] == target
        place = (row // self.units * pairs + pair)[found]
        position, order = (place * pairs + source[found]).sort()
        crow = torch.zeros(pattern.shape[0] // self.units * pairs + 1, dtype=torch.int64)
        crow[1:] = torch.bincount(position // pairs, minlength=crow.numel() - 1).cumsum(0)
        links = Links(crow, (position % pairs).int(), pairs)
        return Pattern.of(links), slot[found][order]

    def advance(self, steps: list[Step], weights: list[Weights]) -> None:
        """Carry the kept influence over one time step."""
        step, part = steps[self.entries.layer], self.parts[0]
        flow: dict[Leaf, Tensor] = {("state", i): part[:, i] for i in range(part.shape[1])}
        for k, of in enumerate(step.of_sources):
            level = step.levels[k]
            values = weights[self.entries.layer].recurrent[level].values
            flow["product", k] = self._product(level, values, self._total(step, of, flow))
        new = [self._total(step, of, flow) for of in step.of_states]
        for i, each in enumerate(new):
            part[:, i] = each

    def _total(self, step: Step, of: Slopes, flow: dict[Leaf, Tensor]) -> Tensor:
        found = torch.zeros_like(flow["state", 0])
        for leaf in of.keys() & flow.keys():
            parts = zip(
                of[leaf].split(self.units, 1), flow[leaf].split(found.shape[1], 1), strict=True
            )
            for slope, each in parts:
                found.addcmul_(slope.index_select(1, self.unit), each)
        now = self.entries.immediate(step, of)
        if now is not None:
            found[:, self.own] += now
        return found

    def _product(self, level: int, values: Tensor, of_source: Tensor) -> Tensor:
        pattern, slot = self.links[level]
        return ops.spmm(values.detach()[slot], pattern, of_source.t()).t()

    def gradient(self, of_states: list[Tensor]) -> Tensor:
        """Return the gradient of every entry: that by its layer's first state, times influence."""
        by = of_states[self.entries.layer].index_select(1, self.unit)
        products = torch.linalg.vecdot(by, self.parts[0][:, 0], dim=0)
        return products.new_zeros(self.entries.count).index_add_(0, self.entry, products)

    def move(self, slot_map: Tensor | None, weights: list[SparseWeight]) -> None:
        """Choose the pairs again, and move what stays; new links and new pairs have 0."""
        old, part = self._keys(), self.parts[0]
        entry = old // self.units if slot_map is None else slot_map.long()[old // self.units]
        moved = entry * self.units + old % self.units
        self._choose(weights)
        key = self._keys()
        self.parts = [part.new_zeros(*part.shape[:-1], key.numel())]
        if key.numel() == 0:
            return
        pair = torch.searchsorted(key, moved).clamp(max=key.numel() - 1)
        stays = (entry >= 0) & (key[pair] == moved)
        self.parts[0][..., pair[stays]] = part[..., stays]


def _multiply(weight: SparseWeight | Tensor, x: Tensor) -> Tensor:
    if isinstance(weight, Tensor):
        return weight.detach() @ x
    return ops.spmm(weight.values.detach(), weight.pattern, x)


def _links_out_of(unit: Tensor, pattern: Pattern) -> tuple[Tensor, Tensor]:
    """Return the links out of each of some units: the place of the unit, and the link."""
    place, slot = _ranges(pattern.t_crow, unit)
    return place, pattern.permutation[slot].long()


def _ranges(begins: Tensor, which: Tensor) -> tuple[Tensor, Tensor]:
    """Return the members of some ranges that follow each other: place in ``which``, and member."""
    begin, count = begins[which], begins.diff()[which]
    place = torch.repeat_interleave(count)
    within = torch.arange(place.numel()) - (count.cumsum(0) - count)[place]
    return place, begin[place] + within
