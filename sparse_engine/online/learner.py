"""The base of all learners: steps of a network, losses, episodes, rewiring and state."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence as Ordered
from copy import copy
from functools import partial
from typing import Any

import torch
from torch import Tensor

from sparse_engine.errors import InputError
from sparse_engine.nn import Recurrent, SparseWeight
from sparse_engine.nn._inputs import lengths_of_unfolds, time_of_step, timespans_of_step
from sparse_engine.nn.sequence import checked_resets
from sparse_engine.online._check import check_mode, check_network, check_parameters
from sparse_engine.online._entries import Entries, entries_of
from sparse_engine.online._influence import Influence, Weights
from sparse_engine.online._panels import fits_panels
from sparse_engine.online._step import Step, adds_product, backpropagate, take_step
from sparse_engine.ops import spmm_t
from sparse_engine.ops.topology import Rewired
from sparse_engine.topology import Rewiring, topology_hash


class Learner(ABC):
    """Steps of a network whose losses have gradients without a backward pass through time.

    Each step carries the influence ``J_t = dh_t / dtheta`` of the parameters on the states along,
    and :meth:`backward` adds ``(dL/dh_t) J_t`` to ``.grad`` of the network's parameters. Sequences
    that run at the same time are the lanes of a batch; gradients are sums over lanes.

    Args:
        network: a recurrent network on the CPU, of one direction, whose step is elementwise in
            units. A parameter that takes no gradients when the learner is made has no influence.

    Raises:
        ValueError: a network that cannot learn online; says why.
        TypeError: no recurrent network of this package.

    Example:
        >>> rnn = SparseRNN(1, 1024, density=0.01)
        >>> learner, readout = SnAp(rnn), torch.nn.Linear(1024, 1)
        >>> optimizer = torch.optim.Adam([*rnn.parameters(), *readout.parameters()])
        >>> for x, target in stream:  # [batch, 1] each
        ...     optimizer.zero_grad()
        ...     learner.backward((readout(learner.step(x)) - target).square().mean())
        ...     optimizer.step()
    """

    def __init__(self, network: Recurrent) -> None:
        step = check_network(network)
        self.network = network
        self._fits_panels = fits_panels(step)
        self._refuse(network)
        self._entries = entries_of(network, adds_product(step))
        check_parameters(network, self._entries)
        self._influence: list[Influence] = []
        self._states: list[tuple[Tensor, ...]] = []
        self._steps: list[Step] = []
        self._y: Tensor | None = None
        self._gradient: Tensor | None = None
        self._versions = self._now()

    def __repr__(self) -> str:
        """Return what ``print(learner)`` shows."""
        return f"{type(self).__name__}({type(self.network).__name__}, {self.memory:,} bytes)"

    @property
    def memory(self) -> int:
        """Number of bytes of the influence; 0 before the first step."""
        return sum(part.nbytes for each in self._influence for part in each.parts)

    def step(
        self,
        x: Tensor,
        *,
        resets: Tensor | None = None,
        timespans: Tensor | Ordered[float] | float | None = None,
    ) -> Tensor:
        """Take one time step of all lanes.

        Args:
            x: ``[batch, input_size]``, without a gradient.
            resets: where episodes begin, ``[batch]``, bool or floats that are 0 elsewhere: there
                state and influence are zero before the step. Where all lanes begin one, their
                number may be another than before.
            timespans: for a network in continuous time, how long ``x`` is held, one number or
                ``[batch]``; as in :meth:`Recurrent.step`.

        Returns:
            The output ``[batch, hidden_size]``, to which a loss is attached. Its graph ends there.

        Raises:
            InputError: a shape or dtype does not fit.
            ValueError: links have changed in another way than :meth:`follow` sees, or an input that
                takes a gradient.
        """
        network = self.network
        check_mode(network)
        self._check_links()
        self._check_input(x)
        batch = x.shape[0]
        begins = torch.zeros(batch, dtype=torch.bool)
        if resets is not None:
            begins = checked_resets(resets, x)
        if self._states and batch != self._states[0][0].shape[0]:
            if resets is None or not begins.all():
                raise InputError(
                    f"expected input of {self._states[0][0].shape[0]} lanes, as before, found "
                    f"{batch}; where all resets are set their number may change"
                )
            self._states = []
        if not self._states:
            self._begin(batch)
        if begins.any():
            for each in self._influence:
                each.forget(begins)
        dt = None
        if network.cell.timed:
            if timespans is not None:
                timespans = timespans_of_step(network, x, timespans).unsqueeze(0)
            dt = lengths_of_unfolds(network, x.unsqueeze(0), timespans)[0]
        elif timespans is not None:
            raise TypeError(f"expected no timespans for {type(network).__name__}, found them")
        self._steps, read = [], x.detach()
        for (name, _), state in zip(network.layers(), self._states, strict=True):
            layer = network.layer(name)
            for weight in network.cell.weights(layer):
                weight.refresh()
            before = tuple(each.masked_fill(begins.unsqueeze(1), 0) for each in state)
            if self._steps:
                read = self._steps[-1].read[0]
            self._steps.append(take_step(network.cell, layer, read, before, dt))
        self._states = [each.states for each in self._steps]
        weights = [self._weights(name) for name, _ in network.layers()]
        with torch.no_grad():
            for each in self._influence:
                each.advance(self._steps, weights)
        self._y = self._states[-1][0].clone()
        if torch.is_grad_enabled():
            self._y.requires_grad_().register_hook(partial(self._receive, self._steps))
        return self._y

    def backward(self, loss: Tensor) -> None:
        """Add the gradient of a loss of the last step's output to ``.grad`` of every parameter.

        Parameters above the network, as of a readout, get theirs by autograd.

        Args:
            loss: a number that is computed from what :meth:`step` returned last, or its gradient by
                that output, ``[batch, hidden_size]``.

        Raises:
            ValueError: no step before, another shape, or a loss of another step's output.
        """
        if self._y is None or not self._steps:
            raise ValueError("expected a step before the backward pass, found none")
        self._check_links()
        if loss.shape == self._y.shape:
            self._gradient = loss.detach()
        elif loss.dim() == 0:
            self._gradient = None
            loss.backward()
        else:
            raise ValueError(
                "expected a loss that is one number, or a gradient of the output of shape "
                f"{[*self._y.shape]}, found shape {[*loss.shape]}"
            )
        gradient, self._gradient = self._gradient, None
        if gradient is None:
            raise ValueError("expected a loss of the output of the last step, found another")
        of_states = self._backpropagate(gradient)
        with torch.no_grad():
            gradients = [each.gradient(of_states) for each in self._influence]
        with torch.enable_grad():
            numbers = [each.entries.parameter() for each in self._influence]
        shaped = zip(gradients, numbers, strict=True)
        torch.autograd.backward(numbers, [each.view_as(to).to(to.dtype) for each, to in shaped])

    @torch.no_grad()
    def truncate(self) -> None:
        """Forget the influence: later losses have no gradient by steps before this one.

        States stay. Links that were changed by hand are read again.
        """
        versions = self._now()
        if versions != self._versions:
            self._versions, self._y = versions, None
            if self._states:
                self._begin(self._states[0][0].shape[0], self._states)
        for each in self._influence:
            each.forget(torch.ones(len(self._states[0][0]), dtype=torch.bool))

    def follow(self, rewiring: Rewiring) -> None:
        """Move the influence along whenever ``rewiring`` moves links of the network.

        A link that stays keeps its influence; a new one starts with none.
        """
        rewiring.observers.append(self._move)

    @torch.no_grad()
    def _move(self, name: str, weight: SparseWeight, rewired: Rewired) -> None:
        for each in self._influence:
            recurrent = self._weights(f"l{each.entries.layer}").recurrent
            slots = each.entries.moved(weight, rewired.slot_map)
            if slots is not None or any(weight is other for other in recurrent):
                each.move(slots, recurrent)
        if weight in self._versions:
            self._versions[weight] = weight.topology_version

    def state_dict(self) -> dict[str, Any]:
        """Return states, influence and hashes of the links: tensors and strings.

        With the state dict of the network, a run that loads both goes on bit for bit.
        """
        links = [topology_hash(weight) for weight in self._versions]
        return {"links": links, **{name: each.clone() for name, each in self._tensors().items()}}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load what :meth:`state_dict` returned; first load that of the network.

        Raises:
            ValueError: entries are missing or unknown, of another shape or dtype, or of other
                links. Nothing is changed.
        """
        links = [topology_hash(weight) for weight in self._versions]
        if state.get("links") != links:
            raise ValueError(
                "expected the state of a learner for the links of this network, found other links; "
                "load the network's own state first"
            )
        fresh = copy(self)
        fresh.__dict__.update(_influence=[], _states=[], _y=None, _steps=[])
        first = state.get(f"{self.network.states[0]}_l0")
        if isinstance(first, Tensor) and first.dim() == 2:
            fresh._begin(first.shape[0])
        own = fresh._tensors()
        if wrong := sorted(own.keys() ^ (state.keys() - {"links"})):
            raise ValueError(f"expected entries {sorted(own)}, found a difference in {wrong}")
        for name, each in own.items():
            found = state[name]
            shape = [*found.shape] if isinstance(found, Tensor) else type(found).__name__
            if shape != [*each.shape] or found.dtype != each.dtype:
                raise ValueError(
                    f"expected {name} of shape {[*each.shape]} and {each.dtype}, found {shape}"
                )
        for name, each in own.items():
            each.copy_(state[name])
        fresh._versions = self._now()
        self.__dict__.update(fresh.__dict__)

    def _tensors(self) -> dict[str, Tensor]:
        found = {}
        for number, states in enumerate(self._states):
            for name, each in zip(self.network.states, states, strict=True):
                found[f"{name}_l{number}"] = each
        for influence in self._influence:
            for number, part in enumerate(influence.parts):
                found[f"influence.{influence.entries.name}.{number}"] = part
        return found

    @abstractmethod
    def _carry(self, entries: Entries, lanes: int) -> Influence:
        """Return zero influence of some entries."""

    def _refuse(self, network: Recurrent) -> None:  # noqa: B027 - most methods refuse nothing
        """Raise ValueError for a network that this method is not defined for."""

    def _begin(self, lanes: int, states: list[tuple[Tensor, ...]] | None = None) -> None:
        network = self.network
        zeros = torch.zeros(lanes, network.hidden_size, dtype=network.dtype)
        self._states = states or [
            tuple(zeros.clone() for _ in network.states) for _ in network.layers()
        ]
        self._influence = [self._carry(each, lanes) for each in self._entries]

    def _weights(self, name: str) -> Weights:
        layer = self.network.layer(name)
        return Weights(self.network.cell.recurrent_weights(layer), layer["weight_ih"])

    def _backpropagate(self, gradient: Tensor) -> list[Tensor]:
        """Return the gradient by each layer's first state within the step; capture factors."""
        found = [gradient]
        for (name, _), step in zip(
            reversed([*self.network.layers()]), reversed(self._steps), strict=True
        ):
            recurrent, below = self._weights(name)
            leaves = backpropagate(recurrent, step, found[0])
            for k, level in enumerate(step.levels):
                if ("product", k) in leaves:
                    recurrent[level].capture(step.sources[k], leaves["product", k])
            of_sums = leaves["input", 0]
            if isinstance(below, SparseWeight):
                below.capture(step.x, of_sums)
            if name != "l0":
                values = below.detach() if isinstance(below, Tensor) else below.values.detach()
                of_input = (
                    of_sums @ values
                    if isinstance(below, Tensor)
                    else spmm_t(values, below.pattern, of_sums.t()).t()
                )
                found.insert(0, of_input * self._steps[int(name[1:]) - 1].read[1])
        return found

    def _receive(self, steps: list[Step], gradient: Tensor) -> None:
        if steps is not self._steps:
            raise ValueError(
                "expected a loss of the output of the last step, found one of a step before: call "
                "backward after each step"
            )
        self._gradient = gradient.detach()

    def _now(self) -> dict[SparseWeight, int]:
        weights = [module for module in self.network.modules() if isinstance(module, SparseWeight)]
        return {weight: weight.topology_version for weight in weights}

    def _check_links(self) -> None:
        for weight, version in self._versions.items():
            if weight.topology_version != version:
                raise ValueError(
                    f"expected the links of the step before, found others in {weight}: follow() "
                    "moves the influence along with a rewiring, and truncate() forgets it"
                )

    def _check_input(self, x: Tensor) -> None:
        time_of_step(self.network, x)
        size, dtype = self.network.input_size, self.network.dtype
        if x.dim() != 2 or x.shape[1] != size or x.dtype != dtype:
            message = (
                f"expected input of shape [batch, {size}] and dtype {dtype}, found {[*x.shape]} "
                f"and {x.dtype}"
            )
            raise InputError(message.replace("torch.", ""))
        if x.requires_grad:
            raise ValueError(
                "expected input without a gradient, found one that takes it: influence is that of "
                "the network's own parameters; pass x.detach()"
            )
