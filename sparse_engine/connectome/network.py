"""Recurrent networks with the wiring of a connectome, its populations as inputs and readouts."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.checkpoint import checkpoint
from torch.utils.hooks import RemovableHandle

from sparse_engine.analysis import spectral_radius
from sparse_engine.connectome.weights import Free, Weights
from sparse_engine.errors import InputError, TableError
from sparse_engine.nn import GroupedWeight, Recurrent, SparseWeight
from sparse_engine.nn.cells.ctrnn import Leaky

if TYPE_CHECKING:
    from sparse_engine.connectome.table import Connectome, Where

#: Density with which a network is made before it gets the connectome's links: that of none.
NONE = np.finfo(np.float64).tiny
#: Doublings and halvings of the scale within which :meth:`ConnectomeNetwork.calibrate` looks.
OCTAVES = 20


class ConnectomeNetwork(nn.Module):
    """Recurrent network whose units are the neurons of a connectome.

    Make it with :meth:`Connectome.network`.

    Attributes:
        rnn: the network, of one layer. Its recurrent weight has the connectome's links; its input
            weight has one link from each input to its neuron, of value 1, and is not trained.
        constraint: what keeps signs while the weight is trained, or None; see :meth:`attach`.
        checkpoint_every: number k of steps between checkpoints, or None: training then keeps the
            states after every k-th step and the readouts, and computes all else again in the
            backward pass.

    Example:
        >>> network = connectome.network(SparseRateRNN, inputs={"eye": [1]})
    """

    def __init__(
        self,
        connectome: Connectome,
        kind: type[Recurrent],
        *,
        weights: Weights | None = None,
        inputs: Mapping[str, Where] | None = None,
        readouts: Mapping[str, Where] | None = None,
        by: str | None = None,
        tau: float | str | Mapping[Any, float] | None = None,
        bias: float | str | Mapping[Any, float] | None = None,
        checkpoint_every: int | None = None,
        dtype: torch.dtype | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        everywhere: Mapping[str, Where] = {"neurons": np.ones(len(connectome), bool)}
        self.connectome, self.checkpoint_every = connectome, checkpoint_every
        self.inputs = _populations(connectome, everywhere if inputs is None else inputs)
        self.readouts = _populations(connectome, everywhere if readouts is None else readouts)
        units = [torch.from_numpy(each) for each in self.inputs.values()]
        size, targets = len(connectome), torch.cat(units)
        if by is not None or tau is not None:
            if not issubclass(kind.cell_type, Leaky):
                raise TypeError(f"expected a network with time constants, found {kind.__name__}")
            groups, names = _grouped(connectome, by)
            options["tau"] = torch.from_numpy(_of_groups(connectome, 1.0 if tau is None else tau,
                                                         groups, names))  # fmt: skip
            options["groups"] = None if by is None else torch.from_numpy(groups)
        self.rnn = kind(
            len(targets), size, density=NONE, input_density=NONE, dtype=dtype, **options
        )
        weights = Free() if weights is None else weights
        dtype = self.rnn.dtype
        self.rnn.weight_hh_l0 = weight = weights.make(connectome, dtype)
        ones, columns = torch.ones(len(targets), dtype=dtype), torch.arange(len(targets))
        weight_ih = SparseWeight.from_coo(targets, columns, ones, (size, len(targets)))
        weight_ih.frozen_pattern = True
        self.rnn.weight_ih_l0 = weight_ih.requires_grad_(False)
        self.constraint = weights.constrain(weight, connectome)
        if bias is not None:
            if "bias_l0" not in self.rnn._parameters:
                raise TypeError(f"expected a network with one bias a unit, found {kind.__name__}")
            groups, names = _grouped(connectome, by)
            of_groups = torch.from_numpy(_of_groups(connectome, bias, groups, names))
            self.rnn._parameters["bias_l0"].data.copy_(of_groups)  # type: ignore[union-attr]
        for name, units_of in self.readouts.items():
            self.register_buffer(f"units_{name}", torch.from_numpy(units_of), persistent=False)

    @property
    def weight(self) -> SparseWeight:
        """The recurrent weight, in the order of the connectome's links."""
        weight: Any = self.rnn.weight_hh_l0
        return weight

    def attach(self, optimizer: Optimizer) -> RemovableHandle | None:
        """Keep the signs after each step of an optimizer, if the weights have a constraint."""
        return None if self.constraint is None else self.constraint.attach(optimizer)

    def forward(
        self, inputs: Mapping[str, Tensor], hx: Any = None
    ) -> tuple[dict[str, Tensor], Any]:
        """Run the network over whole sequences.

        Args:
            inputs: ``[steps, batch, neurons]`` of each population by name, or ``[steps, batch, 1]``
                for the same input to all its neurons; a population that is missing has zeros.
            hx: the initial state, see :meth:`Recurrent.forward`.

        Returns:
            What each population of the readouts sends, ``[steps, batch, neurons]`` by name (rates
            of a rate network, spikes of a spiking one), and the final state.

        Raises:
            InputError: an unknown population, or a shape that does not fit.
        """
        x = self._joined(inputs)
        every = self.checkpoint_every
        if every is None or every >= len(x):
            return self._segment(x, hx)
        run: Any = self._segment
        if torch.is_grad_enabled():
            run = partial(checkpoint, run, use_reentrant=False)
        parts: list[dict[str, Tensor]] = []
        for segment in x.split(every):
            out, hx = run(segment, hx)
            parts.append(out)
        return {name: torch.cat([each[name] for each in parts]) for name in parts[0]}, hx

    @torch.no_grad()
    def scale_(self, factor: float) -> None:
        """Multiply the strengths of all links, in place."""
        weight = self.weight
        values = weight.base if isinstance(weight, GroupedWeight) else weight.values
        values.mul_(factor)

    @torch.no_grad()
    def calibrate(
        self,
        *,
        radius: float | None = None,
        rate: float | None = None,
        inputs: Mapping[str, Tensor] | None = None,
        tolerance: float = 0.01,
    ) -> float:
        """Multiply all strengths by a factor that brings the network to a working point.

        Args:
            radius: the spectral radius of the weight to reach: the largest magnitude of an
                eigenvalue, about 1 where signals neither die out nor explode.
            rate: the mean over steps, sequences and neurons of all readouts to reach instead, under
                ``inputs``. It is looked for by bisection, and has to grow with the factor.
            inputs: inputs as in :meth:`forward`.
            tolerance: relative error of the radius or rate.

        Returns:
            The factor.

        Raises:
            ValueError: neither or both are given, the weight has no cycle, or the rate is not
                reached by any factor between 2^-20 and 2^20.
        """
        if (radius is None) == (rate is None) or (rate is not None and inputs is None):
            raise ValueError("expected radius, or rate with inputs, found neither or both")
        if radius is not None:
            found = spectral_radius(self.weight, tolerance=tolerance)
            if not found:
                raise ValueError("expected a weight with a cycle, found spectral radius 0")
            self.scale_(radius / found)
            return radius / found
        assert rate is not None and inputs is not None
        low, high, now = -float(OCTAVES), float(OCTAVES), 0.0
        for _ in range(60):
            middle = (low + high) / 2
            self.scale_(2 ** (middle - now))
            now = middle
            out, _ = self(inputs)
            mean = float(torch.cat([each.flatten() for each in out.values()]).mean())
            if abs(mean - rate) <= tolerance * abs(rate):
                return 2**now
            low, high = (middle, high) if mean < rate else (low, middle)
        self.scale_(2**-now)
        raise ValueError(f"expected a rate of {rate} for some factor, found {mean:g} at 2^{now:g}")

    def extra_repr(self) -> str:
        """Return what ``print(network)`` shows."""
        populations = {"inputs": self.inputs, "readouts": self.readouts}
        shown = {name: {of: len(each) for of, each in found.items()}
                 for name, found in populations.items()}  # fmt: skip
        return ", ".join(f"{name}={found}" for name, found in shown.items())

    def _joined(self, inputs: Mapping[str, Tensor]) -> Tensor:
        unknown = [name for name in inputs if name not in self.inputs]
        if unknown or not inputs:
            names = ", ".join(self.inputs)
            raise InputError(f"expected inputs of {names}, found {unknown or 'none'}")
        given = next(iter(inputs.values()))
        parts = []
        for name, units in self.inputs.items():
            each = inputs.get(name)
            if each is None:
                parts.append(given.new_zeros(*given.shape[:2], len(units)))
                continue
            if each.dim() != 3 or each.shape[:2] != given.shape[:2]:
                raise InputError(
                    f"expected input {name!r} of shape [{given.shape[0]}, {given.shape[1]}, "
                    f"{len(units)}], found {[*each.shape]}"
                )
            parts.append(each.expand(-1, -1, len(units)) if each.shape[2] == 1 else each)
        return torch.cat(parts, -1)

    def _segment(self, x: Tensor, hx: Any) -> tuple[dict[str, Tensor], Any]:
        y, hx = self.rnn(x, hx)
        send = self.rnn.cell.to_next_layer
        found = {}
        for name, units in self.readouts.items():
            of_units = getattr(self, f"units_{name}")
            whole = len(units) == y.shape[-1]
            found[name] = send(y if whole else y.index_select(-1, of_units))
        return found, hx


def _populations(connectome: Connectome, named: Mapping[str, Where]) -> dict[str, np.ndarray]:
    """Return the numbers of the neurons of each population, in the order of the table."""
    found = {name: connectome.where(where).nonzero()[0] for name, where in named.items()}
    empty = [name for name, units in found.items() if not len(units)]
    if empty or not found:
        raise TableError(f"expected populations with neurons, found {empty or 'none'}")
    return found


def _grouped(connectome: Connectome, by: str | None) -> tuple[np.ndarray, Any]:
    if by is None:
        return np.arange(len(connectome)), connectome.neurons["id"]
    codes, names = pd.factorize(connectome.column(by), sort=True)
    if (codes < 0).any():
        raise TableError(
            f"expected a value in column {by!r} of each neuron, found none in row "
            f"{int((codes < 0).argmax())}"
        )
    return codes.astype(np.int64), names


def _of_groups(connectome: Connectome, value: Any, groups: np.ndarray, names: Any) -> np.ndarray:
    """Return a number for each group: of all, of a column of the table, or by the group's name."""
    if isinstance(value, Mapping):
        missing = [name for name in names if name not in value]
        if missing:
            raise TableError(f"expected a number for each group, found none for {missing[0]!r}")
        return np.array([float(value[name]) for name in names])
    if isinstance(value, str):
        of_neuron = connectome.column(value).to_numpy(np.float64)
        of_group = np.empty(len(names))
        of_group[groups] = of_neuron
        differs = of_group[groups] != of_neuron
        if differs.any():
            row = int(differs.argmax())
            raise TableError(
                f"expected one {value!r} for all neurons of a group, found {of_neuron[row]} in row "
                f"{row} and {of_group[groups[row]]}"
            )
        return of_group
    return np.full(len(names), float(value))
