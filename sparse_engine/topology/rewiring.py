"""Rewiring of a model at a fixed interval, and the rewiring of one weight."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from fractions import Fraction
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim import LBFGS, Optimizer
from torch.profiler import record_function

from sparse_engine.nn import SparseWeight
from sparse_engine.nn.options import check_fraction, check_number
from sparse_engine.ops import Links, Pattern, RandomKey, Use
from sparse_engine.ops.topology import Rewired, carry, carry_, rewire
from sparse_engine.topology import ranks
from sparse_engine.topology.apportion import apportion
from sparse_engine.topology.gathered import gathered
from sparse_engine.topology.grow import Grow, NewLinkInit, ZeroInit
from sparse_engine.topology.links import topology_hash
from sparse_engine.topology.prune import Prune, Share
from sparse_engine.topology.redistribute import Redistribution
from sparse_engine.topology.rule import Rule, State
from sparse_engine.topology.schedule import Schedule, as_schedule

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

#: Function called for every rewired weight with its name in the model, the weight and the change.
Observer = Callable[[str, SparseWeight, Rewired], None]


class Rewiring:
    """Rewiring of every sparse weight of a model at a fixed interval, by prune and grow rules.

    Call :meth:`step` after each ``optimizer.step()``. All randomness follows from the seed, the
    number of steps taken and a weight's place in the model, so that a run which is saved and
    resumed rewires as if it had never stopped.

    Where ranks of ``torch.distributed`` train a model together, as under DistributedDataParallel
    or ``fully_shard``, each has a rewiring with the same arguments. Dense gradients are averaged
    over the ranks, and every rewiring checks that all ranks choose the same links. Values that
    ``fully_shard`` distributes are gathered for each rewiring, with their optimizer state.

    Attributes:
        steps_taken: number of training steps so far.
        fractions, densities: the schedules of ``fraction`` and ``density``, the latter or None.
        process_group: the ranks that train this model together; None, the default, for all ranks of
            the default process group, where one is initialised. Where each rank trains a model of
            its own, set ``torch.distributed.new_subgroups(group_size=1)[0]``.

    Args:
        model: every :class:`SparseWeight` in it that takes gradients is rewired, unless its pattern
            is frozen.
        optimizer: any torch optimizer but LBFGS, whose state of a link moves with the link; or
            None.
        prune: prune rule, which chooses the links to remove.
        grow: grow rule, which chooses the positions of new links.
        new_links: value rule of new links; they start at 0 by default.
        fraction: fraction of the links that each rewiring replaces, in [0, 1], or its schedule.
        density: schedule of the fraction of all positions, over all weights, that hold a link after
            a rewiring; by default the number of links stays.
        redistribution: rule for the number of links that each weight grows; by default every weight
            keeps its number.
        every: steps between rewirings, at least 1.
        seed: seed of the random numbers, any 63-bit integer.
        observers: functions called after every rewiring. The memory of an observer that is a
            :class:`Rule`, such as a :class:`Tracker`, is part of the state.
        keep_returning: whether a link that is removed and grows again in one rewiring keeps its
            value, gradient and optimizer state; by default it starts as a new link.

    Raises:
        ValueError: an argument out of range, a model without sparse weights or with one whose
            values are computed from others, or an optimizer whose state cannot be moved with the
            links.

    Example:
        >>> rewiring = Rewiring(model, optimizer, prune=Magnitude(), grow=RandomGrowth(), every=100)
        >>> rewired = rewiring.step()  # after each optimizer.step()
    """

    #: Whether a model without sparse weights is refused.
    needs_weights: ClassVar[bool] = True

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer | None,
        *,
        prune: Prune,
        grow: Grow,
        new_links: NewLinkInit | None = None,
        fraction: Schedule | float = 0.3,
        density: Schedule | None = None,
        redistribution: Redistribution | None = None,
        every: int = 100,
        seed: int = 0,
        observers: Iterable[Observer] = (),
        keep_returning: bool = False,
    ) -> None:
        if not isinstance(fraction, Schedule):
            check_fraction("fraction", fraction)
        check_number("every of at least 1 step", every, lambda steps: steps >= 1)
        if isinstance(optimizer, LBFGS):
            raise ValueError(
                "expected an optimizer with one entry of state per link, found LBFGS, whose memory "
                "of past steps loses its meaning when links change"
            )
        self.model = model
        self.names, self.weights = [], []
        for name, module in model.named_modules():
            if isinstance(module, SparseWeight):
                self.names.append(name)
                self.weights.append(module)
        if not self.weights and self.needs_weights:
            raise ValueError("expected a model with sparse weights, found none in it")
        self.optimizer = optimizer
        self.prune = prune
        self.grow = grow
        self.new_links = ZeroInit() if new_links is None else new_links
        self.fractions = as_schedule(fraction)
        self.densities = density
        self.redistribution = redistribution
        self.every = every
        self.seed = seed
        self.observers = list(observers)
        self.keep_returning = keep_returning
        self.process_group: ProcessGroup | None = None
        self.steps_taken = 0
        if grow.window > every:
            raise ValueError(
                f"expected every of at least the {grow.window} steps that {grow} looks back on, "
                f"found {every}"
            )
        with self._whole():
            self._moving()
        self._capture()

    def __repr__(self) -> str:
        """Return what ``print(rewiring)`` shows: the method, the number of links, and the rules."""
        shown = ("prune", "grow", "fractions", "densities", "every")
        rules = ", ".join(f"{name}={getattr(self, name)}" for name in shown)
        return f"{type(self).__name__}(links={sum(each.nnz for each in self.weights)}, {rules})"

    def step(self, *, hold: bool = False) -> bool:
        """Count one training step, rewire when it is time, and return whether it was.

        Args:
            hold: whether the wiring stays this time, as where averaging begins in Selfish-RNN.
        """
        self.steps_taken += 1
        due = self.steps_taken % self.every == 0 and not hold
        if due:
            self.rewire()
        self._capture()
        return due

    def skip(self) -> None:
        """Drop the gradients captured since the last step, without counting a step.

        Call this in place of :meth:`step` where ``optimizer.step()`` was not taken, as after an
        overflow under ``torch.amp.GradScaler``.
        """
        for weight in self.weights:
            if weight.captured is not None:
                weight.captured[-1] = []

    @record_function("sparse_engine::rewiring")
    def rewire(self) -> None:
        """Rewire every weight now; a profile shows the call as sparse_engine::rewiring.

        Raises:
            ValueError: a rule cannot choose or made an invalid choice, or the links of a weight
                cannot be replaced, see :meth:`SparseWeight.check_rewirable`.
            RuntimeError: ranks chose different links; names one of them, and the weight.

        In both cases the model stays as it was.
        """
        with self._whole():
            self._rewire()

    def _whole(self) -> AbstractContextManager[None]:
        """Return a context in which every process has all link parameters."""
        return gathered(self.model, self.weights, self.optimizer)

    def _rewire(self) -> None:
        moving = self._moving()
        keys, weights = [key for key, _ in moving], [weight for _, weight in moving]
        targets = self._targets(weights)
        fraction = self.fractions.at(self.steps_taken)
        fractions = [
            removal(weight.nnz, target, fraction)
            for weight, target in zip(weights, targets, strict=True)
        ]
        dropped = self.prune.drop_all(weights, fractions, keys)
        kept = [
            weight.nnz - int(torch.count_nonzero(gone))
            for weight, gone in zip(weights, dropped, strict=True)
        ]
        wanted = [max(0, target - left) for target, left in zip(targets, kept, strict=True)]
        missing = max(0, sum(targets) - sum(kept))
        # A prune rule for the whole model may leave weights with more links than their targets.
        if sum(wanted) > missing:
            wanted = apportion(missing, wanted)
        if self.redistribution is not None:
            wanted = self.redistribution.counts(weights, dropped, wanted)
        with ranks.among(self.process_group):
            rewirings = [
                self._plan(weight, gone, count, key)
                for weight, gone, count, key in zip(weights, dropped, wanted, keys, strict=True)
            ]
            if ranks.several():
                planned = zip(keys, weights, rewirings, strict=True)
                ranks.check_same(
                    {
                        self.names[key.stream]: topology_hash(rewired.links)
                        for key, weight, rewired in planned
                        if not weight.sharded
                    }
                )
        for weight, rewired, key in zip(weights, rewirings, keys, strict=True):
            self._apply(weight, rewired, key)

    def _plan(self, weight: SparseWeight, dropped: Tensor, count: int, key: RandomKey) -> Rewired:
        returning = self.keep_returning
        return plan_rewiring(weight, dropped, count, self.grow, key, keep_returning=returning)

    def _apply(self, weight: SparseWeight, rewired: Rewired, key: RandomKey) -> None:
        apply_rewiring(weight, self.optimizer, rewired, self.new_links, key)
        for observer in self.observers:
            observer(self.names[key.stream], weight, rewired)

    def _moving(self) -> list[tuple[RandomKey, SparseWeight]]:
        """List the weights to rewire, with the key of this step, after a check that they can be."""
        moving = [
            (RandomKey(self.seed ^ weight.first_row << 16, self.steps_taken, place), weight)
            for place, weight in enumerate(self.weights)
            if not weight.frozen_pattern and weight.values.requires_grad
        ]
        for _, weight in moving:
            weight.check_rewirable()
        return moving

    def _targets(self, weights: list[SparseWeight]) -> list[int]:
        """Return how many links each weight should have after a rewiring."""
        now = [weight.nnz for weight in weights]
        if self.densities is None:
            return now
        positions = sum(out * inputs for out, inputs in (weight.shape for weight in weights))
        return apportion(min(round(self.densities.at(self.steps_taken) * positions), sum(now)), now)

    def _capture(self) -> None:
        """Capture the factors of gradients in the steps that the grow rule reads."""
        left = self.every - self.steps_taken % self.every
        for weight in self.weights:
            if left > self.grow.window or weight.frozen_pattern:
                weight.captured = None
            elif weight.captured is None or left == self.grow.window:
                weight.captured = [[]]
            else:
                weight.captured.append([])

    def state_dict(self) -> State:
        """Return the state beside model and optimizer: numbers, strings and tensors."""
        state: State = {"steps": self.steps_taken, "seed": self.seed}
        for kind, rule in self._rules().items():
            state |= {f"{kind}.{name}": entry for name, entry in rule.state_dict().items()}
        for i, weight in enumerate(self.weights):
            for step, pairs in enumerate(weight.captured or []):
                for n, pair in enumerate(pairs):
                    for side, factor in zip(("gradient", "input"), pair, strict=True):
                        state[f"factors.{i}.{step}.{n}.{side}"] = factor
        return state

    def load_state_dict(self, state: State) -> None:
        """Load the number of steps, the seed and the memory of the rules of a saved run.

        The memory of an observer that this rewiring does not have is ignored.

        Raises:
            ValueError: entries missing, negative, or of other rules.
        """
        state = dict(state)
        numbers = [state.pop(name, None) for name in ("steps", "seed")]
        if not all(isinstance(number, int) for number in numbers) or numbers[0] < 0:
            raise ValueError(f"expected entries steps >= 0 and seed, found {numbers}")
        parts: dict[str, State] = {kind: {} for kind in [*self._rules(), "factors"]}
        for name, entry in state.items():
            kind, _, rest = name.partition(".")
            if kind in parts:
                parts[kind][rest] = entry
            elif not kind.startswith("observer"):
                raise ValueError(f"expected entries of {sorted(parts)}, found {name!r}")
        for kind, rule in self._rules().items():
            rule.load_state_dict(parts[kind])
        self.steps_taken, self.seed = numbers
        self._load_factors(parts["factors"])

    def _load_factors(self, saved: State) -> None:
        since = self.steps_taken % self.every - (self.every - self.grow.window)
        for weight in self.weights:
            capturing = 0 <= since < self.grow.window and not weight.frozen_pattern
            weight.captured = [[] for _ in range(since + 1)] if capturing else None
        for name in sorted(saved, key=lambda name: [int(n) for n in name.split(".")[:3]]):
            i, step, n, side = name.split(".")
            captured = self.weights[int(i)].captured
            if side == "gradient" and captured is not None:
                device = self.weights[int(i)].values.device
                other = saved[f"{i}.{step}.{n}.input"]
                captured[int(step)].append((saved[name].to(device), other.to(device)))

    def _rules(self) -> dict[str, Rule]:
        rules: dict[str, Rule] = {"prune": self.prune, "grow": self.grow}
        if self.redistribution is not None:
            rules["redistribution"] = self.redistribution
        for i, observer in enumerate(self.observers):
            if isinstance(observer, Rule):
                rules[f"observer{i}"] = observer
        return rules


def removal(nnz: int, target: int, fraction: float) -> Share:
    """Return the fraction of ``nnz`` links to remove, so that ``fraction * target`` can grow."""
    if target == nnz:
        return fraction
    return Fraction(max(0, nnz - target + int(fraction * target)), max(1, nnz))


def plan_rewiring(
    weight: SparseWeight,
    dropped: Tensor,
    count: int,
    grow: Grow,
    key: RandomKey,
    *,
    keep_returning: bool = False,
) -> Rewired:
    """Choose the new links of a weight, for :func:`apply_rewiring`; nothing changes yet.

    Args:
        weight: the weight to rewire.
        dropped: bool ``[nnz]``, true for links to remove.
        count: number of links to grow.
        grow: the grow rule.
        key: this rewiring's own stream of random numbers.
        keep_returning: whether a link that grows where one was removed counts as surviving.

    Returns:
        The new links with the map from old to new slots.
    """
    links = weight.pattern.links
    positions = grow.grow_after(weight, dropped, count, key)
    if positions.shape != (count,):
        raise ValueError(
            f"expected {count} positions from {grow}, found shape {[*positions.shape]}"
        )
    rewired = rewire(links, ~dropped, positions)
    return _with_returning(rewired, links, dropped, positions) if keep_returning else rewired


def _with_returning(rewired: Rewired, links: Links, dropped: Tensor, positions: Tensor) -> Rewired:
    """Treat links that were removed and grew again as survivors."""
    gone = dropped.nonzero().squeeze(1)
    gone_positions = links.positions()[gone]
    returning = torch.isin(positions, gone_positions, assume_unique=True)
    slot_map = rewired.slot_map.clone()
    # The removed links and the new ones are both in the order of positions.
    slot_map[gone[torch.isin(gone_positions, positions, assume_unique=True)]] = rewired.born[
        returning
    ]
    return rewired._replace(slot_map=slot_map, born=rewired.born[~returning])


@torch.no_grad()
def apply_rewiring(
    weight: SparseWeight,
    optimizer: Optimizer | None,
    rewired: Rewired,
    new_links: NewLinkInit,
    key: RandomKey,
) -> None:
    """Change the links of a weight as :func:`plan_rewiring` has planned it, in place.

    The Parameter object stays; where as many links grow as are removed, its storage stays, too. A
    surviving link keeps its value, gradient and optimizer state. A new link starts with a value of
    ``new_links`` and with optimizer state 0. The same holds for other link parameters, where new
    links get initial entries, see :meth:`SparseWeight.new_link_entries`.

    Args:
        weight: the weight to rewire.
        optimizer: the optimizer whose state is carried along, or None.
        rewired: the change.
        new_links: value rule of the new links.
        key: this rewiring's own stream of random numbers.
    """
    nnz, born = rewired.links.nnz, rewired.born.long()
    first = {"values": new_links.values(weight, len(born), key)}
    if len(weight.link_parameters) > 1:
        generator = key.torch_generator(Use.NEWBORN)
        first |= weight.new_link_entries(len(born), generator=generator, dtype=weight.dtype)
    entries, attached = {}, []
    for name in weight.link_parameters:
        parameter = getattr(weight, name)
        entries[name] = carry(parameter, rewired.slot_map, nnz)
        entries[name][born] = first[name].to(parameter.device)
        attached.append((parameter, parameter.grad, *_link_state(optimizer, parameter)))
    weight.set_pattern(Pattern.of(rewired.links), **entries)
    for parameter, gradient, state, names in attached:
        parameter.grad = _carried(gradient, rewired, nnz)
        for name in names:
            state[name] = _carried(state[name], rewired, nnz)


def _link_state(optimizer: Optimizer | None, parameter: Tensor) -> tuple[dict[str, Any], list[str]]:
    """Return an optimizer's state of a parameter, and the names of its entries for each link."""
    state = {} if optimizer is None else optimizer.state.get(parameter, {})
    return state, [
        name
        for name, entry in state.items()
        if isinstance(entry, Tensor) and entry.shape == parameter.shape
    ]


def _carried(tensor: Tensor | None, rewired: Rewired, nnz: int) -> Tensor | None:
    """Return the entries at the links' new slots, in the same tensor if the length stays."""
    if tensor is None:
        return None
    if tensor.numel() != nnz:
        return carry(tensor.contiguous(), rewired.slot_map, nnz)
    if tensor.is_contiguous():
        return carry_(tensor, rewired.slot_map)
    return tensor.copy_(carry(tensor.contiguous(), rewired.slot_map, nnz))
