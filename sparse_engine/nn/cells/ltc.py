"""Liquid time-constant networks with sparse synapses."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from typing_extensions import Unpack

from sparse_engine.nn import _initial_links, _initial_values
from sparse_engine.nn._keywords import StackOptions
from sparse_engine.nn.conductance import ConductanceWeight
from sparse_engine.nn.options import COUNT, Option
from sparse_engine.nn.recurrent import Recurrent
from sparse_engine.ops.ltc import ltc_and_final
from sparse_engine.ops.sums import affine


class SparseLTC(Recurrent):
    """Liquid time-constant network (Hasani et al., AAAI 2021) whose synapses exist only as links.

    The state v of a unit is a membrane potential that leaks towards ``vleak``. It is driven by
    sensory synapses from the inputs and by synapses from the units, see
    :class:`ConductanceWeight`. A time step takes ``unfolds`` steps of the semi-implicit solver::

        s_i, s_g = weight_ih(x_t * input_w + input_b)
        i, g = weight_hh(v)
        v = (cm * v + gleak * vleak + i + s_i) / (cm + gleak + g + s_g)

    The sensory sums ``s_i, s_g`` are computed once for each time step. The forward pass of a layer
    over all time steps is one native operation, and so is its backward pass; training keeps only
    the potentials after each time step.

    Time is measured in unfolds: for a membrane capacitance C and samples that are dt apart, ``cm``
    is ``C * unfolds / dt``.

    Call :meth:`clip_` after each step of the optimizer, by hand or with
    ``optimizer.register_step_post_hook(lambda *_: network.clip_())``.

    Args:
        input_size: number of features of the input.
        hidden_size: number of units of each layer.
        num_layers: number of layers.
        density: fraction of the recurrent synapses that exist, in (0, 1]; also of the synapses
            between layers.
        input_density: the same fraction for the sensory synapses of layer 0.
        unfolds: number of steps of the solver for each time step, at least 1.
        generator: source of randomness on the CPU.
        device: where the parameters are put.
        dtype: float32 or float64.
        checkpoint_every: number of steps between checkpoints, see :class:`Recurrent`.
        **options: other arguments of :class:`Recurrent` by name: batch_first, dropout,
            bidirectional.

    Parameters of each layer and direction: ``weight_ih_l0`` and ``weight_hh_l0`` with ``.values``,
    ``.mu``, ``.sigma`` and ``.erev``; ``input_w_l0``, ``input_b_l0``, of one entry per input;
    ``gleak_l0``, ``vleak_l0``, ``cm_l0``, of one entry per unit.

    Example:
        >>> ltc = SparseLTC(7, 64, density=0.05)
        >>> y, h_n = ltc(torch.randn(32, 16, 7))
        >>> y.shape, h_n.shape
        (torch.Size([32, 16, 64]), torch.Size([1, 16, 64]))
    """

    options: ClassVar[dict[str, Option]] = {
        **{name: each for name, each in Recurrent.options.items() if name != "bias"},
        "unfolds": COUNT,
    }
    weight_hh_l0: ConductanceWeight
    unfolds: int
    resettable = True
    bf16_devices = ("cpu",)
    gradient_growth = False

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        density: float,
        input_density: float = 1.0,
        unfolds: int = 6,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        checkpoint_every: int | None = None,
        **options: Unpack[StackOptions],
    ) -> None:
        stack: dict[str, Any] = {"unfolds": unfolds, "checkpoint_every": checkpoint_every}
        super().__init__(input_size, hidden_size, num_layers, **stack, **options)
        _initial_links.check_density(density)
        _initial_links.check_density(input_density, "input_density")

        for name, inputs in self.layers():
            for kind, sources, share in (
                ("ih", inputs, input_density if name.startswith("l0") else density),
                ("hh", hidden_size, density),
            ):
                weight = ConductanceWeight.erdos_renyi(
                    hidden_size,
                    sources,
                    density=share,
                    generator=generator,
                    device=device,
                    dtype=dtype,
                )
                setattr(self, f"weight_{kind}_{name}", weight)
            for kind in ("input_w", "input_b", "gleak", "vleak", "cm"):
                size = inputs if kind.startswith("input") else hidden_size
                blank = _initial_values.blank(size, dtype=dtype, device=device)
                entries = _initial_values.moved(_start(kind, blank, generator), device)
                setattr(self, f"{kind}_{name}", nn.Parameter(entries))

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

    def first_values(self, name: str, parameter: Tensor) -> Tensor:
        """Return the initial values of a parameter of units or inputs."""
        entries = torch.empty(parameter.shape, dtype=parameter.dtype, device="cpu")
        return _start(name, entries)

    # Each class has a forward of its own: torch.compile counts recompilations by function.
    def forward(
        self, input: Tensor, hx: Tensor | None = None, *, resets: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Run the network over whole sequences: :meth:`Recurrent.forward`."""
        return super().forward(input, hx, resets=resets)

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of inputs, states and outputs."""
        return self.weight_hh_l0.dtype

    def run_layer(
        self,
        layer: str,
        x: Tensor,
        state: tuple[Tensor | None, ...],
        resets: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        """Run one layer in one operation."""

        def own(kind: str) -> Any:
            return getattr(self, f"{kind}_{layer}")

        synapses = own("weight_hh")
        synapses.refresh()
        current, conductance = own("weight_ih")(affine(x, own("input_w"), own("input_b")))
        return ltc_and_final(
            affine(current, None, own("gleak") * own("vleak")),
            affine(conductance, None, own("gleak")),
            state[0],
            own("cm"),
            synapses.synapses,
            synapses.pattern,
            unfolds=self.unfolds,
            resets=resets,
        )


def _start(name: str, entries: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Fill ``entries`` with the initial values of the parameter of units or inputs ``name``."""
    if name.startswith("vleak"):
        return entries.uniform_(-0.2, 0.2, generator=generator)
    starts = {"input_w": 1.0, "input_b": 0.0, "gleak": 1.0, "cm": 0.5}
    return entries.fill_(next(value for kind, value in starts.items() if name.startswith(kind)))
