"""Liquid time-constant networks with sparse synapses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from sparse_engine import ops
from sparse_engine.nn import _initial
from sparse_engine.nn.cell import Layer, Maker
from sparse_engine.nn.conductance import ConductanceWeight
from sparse_engine.nn.kernel_cell import KernelCell, State
from sparse_engine.nn.options import check_count, option
from sparse_engine.nn.recurrent import Recurrent
from sparse_engine.nn.sequence import Sequence
from sparse_engine.ops._sequence import States
from sparse_engine.ops.sums import affine


@dataclass(frozen=True, kw_only=True)
class LTC(KernelCell):
    """Liquid time-constant unit (Hasani et al. 2021) with its semi-implicit solver."""

    unfolds: int = option(check_count, 6)

    packable: ClassVar[bool] = False
    gradient_growth: ClassVar[bool] = False
    operation: ClassVar[Any] = ops.ltc
    lacks: ClassVar[tuple[str, ...]] = ("bias", "gain")

    def make(self, maker: Maker, inputs: int, first: bool) -> dict[str, Any]:
        """Return the synapses of a layer, and the parameters of its inputs and units."""
        hidden = maker.hidden_size
        share = maker.input_density if first else maker.density
        weight_ih = maker.sparse(hidden, inputs, share, ConductanceWeight)
        weight_hh = maker.sparse(hidden, hidden, None, ConductanceWeight)
        blank = _initial.blank(hidden, **maker.like)
        vleak = blank.uniform_(-0.2, 0.2, generator=maker.generator)
        return {
            "weight_ih": weight_ih,
            "weight_hh": weight_hh,
            "input_w": maker.full(1.0, inputs),
            "input_b": maker.full(0.0, inputs),
            "gleak": maker.full(1.0, hidden),
            "vleak": nn.Parameter(_initial.moved(vleak, maker.like["device"])),
            "cm": maker.full(0.5, hidden),
        }

    def sensory(self, layer: Layer, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the current and the conductance of the inputs and the leak."""
        current, conductance = layer["weight_ih"](affine(x, layer["input_w"], layer["input_b"]))
        leak = layer["gleak"] * layer["vleak"]
        return affine(current, None, leak), affine(conductance, None, layer["gleak"])

    def input_sums(self, layer: Layer, x: Tensor) -> Tensor:
        """Return current and conductance of all steps, one behind the other."""
        return torch.cat(self.sensory(layer, x), -1)

    def product(self, layer: Layer) -> Callable[..., Any]:
        """Return the function from potentials to the currents and conductances of synapses."""
        return layer["weight_hh"]

    def arguments(self, layer: Layer) -> dict[str, Any]:
        """Return the capacitances, and the number of the solver's steps."""
        return {"cm": layer["cm"], "unfolds": self.unfolds}

    def run(self, layer: Layer, sequence: Sequence, state: State) -> States:
        """Run one layer in one operation."""
        sums, weight = self.sensory(layer, sequence.x), layer["weight_hh"]
        return ops.ltc.full(
            *sums,
            state[0],
            synapses=weight.synapses,
            pattern=weight.pattern,
            resets=sequence.resets,
            **self.arguments(layer),
        )


class SparseLTC(Recurrent):
    """Liquid time-constant network (Hasani et al., AAAI 2021) whose synapses exist only as links.

    The state v of a unit is a membrane potential that leaks towards ``vleak``. It is driven by
    sensory synapses from the inputs and by synapses from the units, see
    :class:`ConductanceWeight`. A time step takes ``unfolds`` steps of the semi-implicit solver::

        s_i, s_g = weight_ih(x_t * input_w + input_b)
        i, g = weight_hh(v)
        v = (cm * v + gleak * vleak + i + s_i) / (cm + gleak + g + s_g)

    The sensory sums ``s_i, s_g`` are computed once for each time step. Training keeps only
    the potentials after each time step.

    Time is measured in unfolds: for a membrane capacitance C and samples that are dt apart, ``cm``
    is ``C * unfolds / dt``.

    Call :meth:`clip_` after each step of the optimizer, by hand or with
    ``optimizer.register_step_post_hook(lambda *_: network.clip_())``.

    Args:
        density: fraction of the recurrent synapses that exist, in (0, 1]; also of the synapses
            between layers.
        input_density: the same fraction for the sensory synapses of layer 0.
        unfolds: number of steps of the solver for each time step, at least 1.
        **options: the other arguments of :class:`Recurrent` but bias and gain.

    Parameters of each layer and direction: ``weight_ih_l0`` and ``weight_hh_l0`` with ``.values``,
    ``.mu``, ``.sigma`` and ``.erev``; ``input_w_l0``, ``input_b_l0``, of one entry per input;
    ``gleak_l0``, ``vleak_l0``, ``cm_l0``, of one entry per unit.

    Example:
        >>> ltc = SparseLTC(7, 64, density=0.05)
        >>> y, h_n = ltc(torch.randn(32, 16, 7))
        >>> y.shape, h_n.shape
        (torch.Size([32, 16, 64]), torch.Size([1, 16, 64]))
    """

    cell_type = LTC

    @torch.no_grad()
    def clip_(self) -> None:
        """Clip cm to [1e-6, 1000], gleak to [1e-5, 1000] and every W to [0, 1000].

        Raises:
            AttributeError: one of them is computed from other parameters.
        """
        for name, _ in self.layers():
            self.get_parameter(f"cm_{name}").clamp_(1e-6, 1e3)
            self.get_parameter(f"gleak_{name}").clamp_(1e-5, 1e3)
            for kind in ("ih", "hh"):
                self.get_parameter(f"weight_{kind}_{name}.values").clamp_(0, 1e3)
