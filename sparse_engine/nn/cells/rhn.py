"""The recurrent highway network with sparse recurrent weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from sparse_engine import ops
from sparse_engine.nn.cell import Layer, Maker, multiply
from sparse_engine.nn.kernel_cell import KernelCell, State, captures
from sparse_engine.nn.options import check_count, check_flag, check_fraction, option
from sparse_engine.nn.recurrent import Recurrent
from sparse_engine.nn.sequence import Sequence
from sparse_engine.nn.weight import SparseWeight
from sparse_engine.ops._autocast import summed_dtype
from sparse_engine.ops._sequence import States


@dataclass(frozen=True, kw_only=True)
class RHN(KernelCell):
    """Recurrent highway unit (Zilly et al. 2017), whose steps have several levels."""

    recurrence_depth: int = option(check_count)
    coupled: bool = option(check_flag, True)
    recurrent_dropout: float = option(check_fraction, 0.0)

    packable: ClassVar[bool] = False
    operation: ClassVar[Any] = ops.rhn

    def blocks(self, hidden_size: int) -> tuple[int, ...]:
        """Return the rows of two gates, and of a third if the carry gate is not coupled."""
        return (hidden_size,) * (2 if self.coupled else 3)

    def bias_shapes(self, rows: int) -> dict[str, tuple[int, ...]]:
        """Return the shape of the biases of all levels."""
        return {"hh": (self.recurrence_depth, rows)}

    def make_recurrent(self, maker: Maker, rows: int) -> dict[str, nn.Module]:
        """Return the weight of each level."""
        levels = (maker.sparse(rows, maker.hidden_size) for _ in range(self.recurrence_depth))
        return {"weight_hh": nn.ModuleList(levels)}

    def recurrent_weights(self, layer: Layer) -> list[SparseWeight]:
        """Return the weight of each level."""
        return [*layer["weight_hh"]]

    def biases(self, layer: Layer) -> tuple[Tensor | None, Tensor | None]:
        """Return the biases of all levels as those of the product."""
        return None, layer.get("bias_hh")

    def draw(self, sequence: Sequence, hidden_size: int) -> dict[str, Tensor]:
        """Return the mask of dropped units, one for all steps of a sequence."""
        if self.recurrent_dropout == 0:
            return {}
        dtype = summed_dtype(sequence.x.dtype)
        ones = sequence.x.new_ones(sequence.batch, hidden_size, dtype=dtype)
        return {"mask": nn.functional.dropout(ones, self.recurrent_dropout)}

    def product(self, layer: Layer) -> Callable[..., Tensor]:
        """Return the function of a state and a level that computes the level's sums."""
        weights, bias = self.recurrent_weights(layer), self.biases(layer)[1]
        return lambda s, level: weights[level](s, None if bias is None else bias[level])

    def arguments(self, layer: Layer) -> dict[str, Any]:
        """Return the number of levels."""
        return {"depth": self.recurrence_depth}

    def step(self, v: Tensor, product: Callable[..., Any], state: States, **given: Any) -> States:
        """Compute one time step, whose input enters the first level."""
        return super().step(v.unsqueeze(0), product, state, **given)

    def goes_by_steps(self, layer: Layer, sequence: Sequence) -> bool:
        """Whether factors are captured: every level captures its own use of its weight."""
        return any(map(captures, self.weights(layer)))

    def run(
        self, layer: Layer, sequence: Sequence, state: State, mask: Tensor | None = None
    ) -> States:
        """Run one layer in one operation."""
        weights = self.recurrent_weights(layer)
        u = multiply(layer["weight_ih"], sequence.x).unsqueeze(1)
        links = [weight.values for weight in weights], [weight.pattern for weight in weights]
        bias, resets = self.biases(layer)[1], sequence.resets
        y, _ = ops.rhn.full(u, state[0], mask, bias, *links, resets=resets)
        return y, y[-1]


class SparseRHN(Recurrent):
    """Recurrent highway network (Zilly et al. 2017) whose recurrent weights exist only as links.

    Every time step passes through ``recurrence_depth`` levels. With s the state, m a mask of
    dropped units, and ``u = (m * s) R_l^T + b_l``, to which the first level adds ``x_t W_ih^T``::

        h, t, c = tanh(u_h), sigmoid(u_t), sigmoid(u_c)  in blocks of hidden_size
        s = h * t + s * c

    where ``coupled`` gates have no third block, and ``c = 1 - t``. The output is s after the last
    level. The R_l of each level is one :class:`SparseWeight` of ``2 * hidden_size`` rows,
    or 3. Selfish-RNN's network has one layer, coupled gates, a depth of 10, and ``input_density``
    equal to ``density``.

    Args:
        recurrence_depth: number of levels of each step.
        coupled: whether the carry gate is ``1 - t``.
        recurrent_dropout: fraction of the units that m drops in training, in [0, 1]. One mask
            serves all steps and levels of a sequence. It does not apply to ``s * c``.
        **options: the other arguments of :class:`Recurrent`.

    Parameters are ``weight_ih_l0``, ``weight_hh_l0.0.values``, ``weight_hh_l0.1.values``, ... for
    the levels, and ``bias_hh_l0`` of shape ``[recurrence_depth, 2 * hidden_size]``, or 3; with
    ``_reverse`` for the other direction. With a negative bias of the transform gates t, a deep
    network initially carries most of its state.

    Example:
        >>> rhn = SparseRHN(64, 830, recurrence_depth=10, density=0.05)
        >>> y, h_n = rhn(torch.randn(35, 20, 64))
        >>> y.shape, h_n.shape
        (torch.Size([35, 20, 830]), torch.Size([1, 20, 830]))
    """

    cell_type = RHN
