"""A recurrent cell: its options, the equations of one time step, and how a layer runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from sparse_engine.nn import _initial
from sparse_engine.nn.options import check_rates, option
from sparse_engine.nn.sequence import Sequence
from sparse_engine.nn.weight import SparseWeight
from sparse_engine.ops._sequence import run_steps

#: Parameters and modules of one layer in one direction, by kind: ``layer["weight_hh"]`` is
#: ``network.weight_hh_l0``.
Layer = Mapping[str, Any]


@dataclass(frozen=True)
class Maker:
    """Makes weights and parameters of one network, by the arguments of :class:`Recurrent`.

    ``like`` is the device and dtype of parameters, as torch's constructors take them.
    """

    hidden_size: int
    bias: bool
    density: float
    input_density: float
    gain: float
    generator: torch.Generator | None
    like: dict[str, Any]

    def sparse(
        self,
        rows: int,
        columns: int,
        density: float | None = None,
        kind: type[SparseWeight] = SparseWeight,
    ) -> SparseWeight:
        """Return a sparse weight; of the network's density by default."""
        density = self.density if density is None else density
        given = {"gain": self.gain, "generator": self.generator, **self.like}
        return kind.erdos_renyi(rows, columns, density=density, **given)

    def input(self, rows: int, columns: int, first: bool) -> SparseWeight | nn.Parameter:
        """Return an input weight: of layer 0 (``first``), or of a later layer."""
        if first and self.input_density == 1:
            return self.uniform(rows, columns)
        return self.sparse(rows, columns, self.input_density if first else self.density)

    def uniform(self, *shape: int) -> nn.Parameter:
        """Return a dense parameter drawn from U(-b, b), ``b = 1 / sqrt(hidden_size)``."""
        fan_in, generator = self.hidden_size, self.generator
        return nn.Parameter(
            _initial.uniform(*shape, fan_in=fan_in, generator=generator, **self.like)
        )

    def full(self, value: float, *shape: int) -> nn.Parameter:
        """Return a dense parameter of one value."""
        return nn.Parameter(torch.full(shape, value, **self.like))


@dataclass(frozen=True, kw_only=True)
class Cell:
    """Value that says what a :class:`Recurrent` network computes; its fields are its options.

    A subclass writes :meth:`step`, the equations of one time step in plain torch. That alone makes
    a network with all that the built-in ones have. A cell with a native kernel overrides
    :meth:`run`, and its step is then the reference implementation.

    Attributes:
        zoneout: fraction of the units that keep their state at each step of training (Krueger et
            al. 2017), one for all states or one for each; in evaluation the new state is the
            expectation. With it every layer runs step by step.
        states: names of the states that are passed from step to step. The first is the output.
        gates: number of blocks of ``hidden_size`` rows in each weight.
        torch_options: the options that the counterpart in torch.nn has, too.
        dense_type: the counterpart in torch.nn, or None.
        timed: whether a step takes ``dt``, how long its input is held. A cell with ``unfolds`` gets
            the length of each; without timespans it is the cell's own ``dt``, or 1.
        packable: whether the network takes sequences of different lengths.
        separate_biases: whether :meth:`step` is given ``b_ih`` with the input and ``b_hh`` with
            the product, instead of their sum with the product.
        most_fused_inputs: greatest number of columns of a dense input weight that a kernel
            multiplies inside its time loop. A wider one is multiplied before, for all steps.
        bf16_devices: types of the devices on which activations stay in bfloat16 under autocast.
        unitwise: whether units of a layer depend on each other by the recurrent product only, so
            that they can be distributed over processes.
        gradient_growth: whether rules can grow links by the gradient of absent links.
        step_kernel: name of the native operation of one time step of all layers, or None.
        operation: the operation of :mod:`sparse_engine.ops` by which :meth:`run` runs a whole
            layer, or None.

    Example:
        >>> class UGRNN(Cell):
        ...     gates = 2
        ...     def step(self, v, product, state):
        ...         gate, candidate = (v + product(state[0])).chunk(2, -1)
        ...         return (torch.lerp(candidate.tanh(), state[0], gate.sigmoid()),)
        >>> class SparseUGRNN(Recurrent):
        ...     cell_type = UGRNN
        >>> y, h_n = SparseUGRNN(8, 256, density=0.05)(torch.randn(20, 32, 8))
    """

    zoneout: float | tuple[float, ...] = option(check_rates, 0.0)

    states: ClassVar[tuple[str, ...]] = ("h0",)
    gates: ClassVar[int] = 1
    torch_options: ClassVar[tuple[str, ...]] = ()
    dense_type: ClassVar[type[nn.RNNBase] | None] = None
    timed: ClassVar[bool] = False
    packable: ClassVar[bool] = True
    separate_biases: ClassVar[bool] = True
    most_fused_inputs: ClassVar[int] = 0
    bf16_devices: ClassVar[tuple[str, ...]] = ()
    unitwise: ClassVar[bool] = False
    gradient_growth: ClassVar[bool] = True
    step_kernel: ClassVar[str | None] = None
    operation: ClassVar[Any] = None
    #: Arguments of :class:`Recurrent` that the cell has no use for.
    lacks: ClassVar[tuple[str, ...]] = ()
    #: Buffers of the network that all layers share.
    shared: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        for each in fields(self):
            if "check" in each.metadata:
                each.metadata["check"](each.name, getattr(self, each.name))
        if isinstance(self.zoneout, tuple) and len(self.zoneout) != len(self.states):
            raise ValueError(
                f"expected zoneout of each of {self.states}, found {len(self.zoneout)} numbers"
            )

    def step(
        self, v: Tensor, product: Callable[..., Tensor], state: tuple[Tensor, ...], **given: Any
    ) -> tuple[Tensor, ...]:
        """Compute one time step in plain torch.

        Args:
            v: the input's contribution ``W_ih x_t``, ``[batch, rows]``.
            product: ``product(h)`` returns the recurrent sums ``W_hh h``, ``[batch, rows]``. The
                biases are in one of both.
            state: the state before for each name in ``states``, ``[batch, size_of(name)]``.
            **given: what :meth:`draw` and :meth:`arguments` return, and ``dt`` ``[batch, 1]`` of a
                cell that is ``timed``.

        Returns:
            The state after for each name in ``states``.
        """
        raise NotImplementedError

    def draw(self, sequence: Sequence, hidden_size: int) -> dict[str, Tensor]:
        """Return random tensors that all steps of a layer share in training, such as a mask."""
        return {}

    def arguments(self, layer: Layer) -> dict[str, Any]:
        """Return what :meth:`step` needs of a layer beside sums, by name."""
        return {}

    def check_sizes(self, hidden_size: int) -> None:
        """Raise ValueError for options that do not go with this number of units."""

    def blocks(self, hidden_size: int) -> tuple[int, ...]:
        """Return the rows of each gate in each weight, see :class:`SparseWeight`."""
        return (hidden_size,) * self.gates

    def size_of(self, state: str, hidden_size: int) -> int:
        """Return the number of features of a state; the first state has those of the output."""
        return hidden_size

    def make(self, maker: Maker, inputs: int, first: bool) -> dict[str, Any]:
        """Return the parameters and modules of one layer and direction, by kind.

        The layer reads ``inputs`` features, those of the network's input if it is the ``first``.
        """
        rows = sum(self.blocks(maker.hidden_size))
        made = {"weight_ih": maker.input(rows, inputs, first), **self.make_recurrent(maker, rows)}
        for kind, shape in self.bias_shapes(rows).items() if maker.bias else ():
            made[f"bias_{kind}"] = maker.uniform(*shape)
        return made

    def make_recurrent(self, maker: Maker, rows: int) -> dict[str, nn.Module]:
        """Return the weights that multiply states, by kind."""
        outputs = self.size_of(self.states[0], maker.hidden_size)
        return {"weight_hh": maker.sparse(rows, outputs)}

    def bias_shapes(self, rows: int) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the biases of a layer, by kind."""
        return {"ih": (rows,), "hh": (rows,)}

    def make_shared(self, maker: Maker) -> dict[str, Tensor | None]:
        """Return the buffers that all layers share, by name."""
        return {}

    def weights(self, layer: Layer) -> list[SparseWeight]:
        """Return the weights that the time loop of a layer multiplies."""
        return self.recurrent_weights(layer)

    def recurrent_weights(self, layer: Layer) -> list[SparseWeight]:
        """Return the weights by which the units of a layer read each other."""
        weight = layer.get("weight_hh")
        return [weight] if isinstance(weight, SparseWeight) else []

    def biases(self, layer: Layer) -> tuple[Tensor | None, Tensor | None]:
        """Return the biases of the input's contribution and of the recurrent sums."""
        if "bias_hh" not in layer:
            return None, None
        if self.separate_biases:
            return layer["bias_ih"], layer["bias_hh"]
        return None, layer["bias_ih"] + layer["bias_hh"]

    def to_next_layer(self, outputs: Tensor) -> Tensor:
        """Return what the next layer reads of a layer's outputs; here the outputs themselves."""
        return outputs

    def keeps_bfloat16(self, device: str) -> bool:
        """Whether activations stay in bfloat16 on a type of device, where autocast asks for it."""
        return device in self.bf16_devices

    def goes_by_steps(self, layer: Layer, sequence: Sequence) -> bool:
        """Whether this sequence runs step by step, and not by :meth:`run`."""
        return self.operation is None

    def run(
        self, layer: Layer, sequence: Sequence, state: tuple[Tensor | None, ...], **drawn: Tensor
    ) -> tuple[Tensor, ...]:
        """Run one layer in one direction over a whole sequence.

        Args:
            layer: the layer's parameters by kind.
            sequence: what it reads, in the order in which this direction reads it.
            state: the initial state for each name in ``states``, or None for zeros.
            **drawn: what :meth:`draw` returned.

        Returns:
            All outputs ``[steps, batch, features]`` (``[rows, features]`` where sequences have
            different lengths), and the final state for each name.
        """
        raise NotImplementedError

    def run_steps(
        self,
        layer: Layer,
        sequence: Sequence,
        state: tuple[Tensor, ...],
        v: Tensor | None = None,
        **drawn: Tensor,
    ) -> tuple[Tensor, ...]:
        """Run one layer by :meth:`step`, as :meth:`run` does; states are tensors, never None.

        ``v`` is the input's contribution to all steps, by default :meth:`input_sums`.
        """
        v = self.input_sums(layer, sequence.x) if v is None else v
        given: dict[str, Any] = {**self.arguments(layer), **drawn}
        training = given.pop("training", False)
        step = partial(self.step, **given)
        if self.zoneout:
            rates = self.zoneout if isinstance(self.zoneout, tuple) else (self.zoneout,)
            step = partial(zoned_out, step, rates * len(self.states), training)
        of_steps = {} if sequence.dt is None else {"dt": sequence.dt.unsqueeze(-1)}
        parts = sequence.batch_sizes, sequence.resets
        return run_steps(step, self.product(layer), v, state, *parts, **of_steps)

    def input_sums(self, layer: Layer, x: Tensor) -> Tensor:
        """Return the ``v`` of all steps."""
        return multiply(layer["weight_ih"], x, self.biases(layer)[0])

    def product(self, layer: Layer) -> Callable[..., Tensor]:
        """Return the function that computes recurrent sums from a state."""
        return partial(layer["weight_hh"], bias=self.biases(layer)[1])


def zoned_out(
    step: Callable[..., tuple[Tensor, ...]],
    rates: tuple[float, ...],
    training: bool,
    v: Tensor,
    product: Callable[..., Tensor],
    state: tuple[Tensor, ...],
    **given: Any,
) -> tuple[Tensor, ...]:
    """Compute one time step in which random units keep their state (zoneout, equation 4).

    In training ``state_t = mask * state_{t-1} + (1 - mask) * new``, with a mask that is 1 with the
    probability of ``rates``; in evaluation the mask is its expectation.
    """

    def mixed(rate: float, old: Tensor, new: Tensor) -> Tensor:
        if not training:
            return torch.lerp(new, old, rate)
        return torch.where(torch.rand_like(new) < rate, old, new)

    return tuple(map(mixed, rates, state, step(v, product, state, **given)))


def multiply(weight: SparseWeight | Tensor, x: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return ``x @ W.T + bias`` for a sparse or dense weight."""
    if not isinstance(weight, Tensor):
        return weight(x, bias)
    if x.is_meta != weight.is_meta:
        raise ValueError(
            f"expected input and weight on one device, found {x.device} and {weight.device}"
        )
    return nn.functional.linear(x, weight, bias)
