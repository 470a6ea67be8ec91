"""Reservoir of an echo state network: fixed sparse links of a given spectral radius."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from sparse_engine import ops
from sparse_engine.analysis import spectral_radius
from sparse_engine.nn import SparseLinear

#: Most numbers of states that are computed at once.
CHUNK = 1 << 21


class Reservoir:
    """Units with fixed links: ``h = (1 - leak) h + leak tanh(W_in x + bias + W h)``.

    Jaeger, "The echo state approach to analysing and training recurrent neural networks", 2001.

    Args:
        inputs: number of inputs.
        units: number of units.
        density: density of W, whose values are normal.
        radius: spectral radius of W.
        input_density: density of W_in and of the bias, whose values are uniform in (-1, 1).
        input_scale: factor of W_in.
        bias_scale: factor of the bias.
        leak: leaking rate, in (0, 1].
        dtype: float32 or float64.
        generator: generator of all random numbers.

    Attributes:
        weight: W.
        w_input: W_in, and the bias as its last column.
    """

    def __init__(
        self,
        inputs: int,
        units: int,
        *,
        density: float,
        radius: float,
        input_density: float,
        input_scale: float,
        bias_scale: float,
        leak: float,
        dtype: torch.dtype,
        generator: torch.Generator,
    ) -> None:
        layer = SparseLinear(
            units, units, bias=False, dtype=dtype, density=density, generator=generator
        )
        self.weight, self.leak = layer.weight, leak
        into = SparseLinear(
            inputs + 1, units, bias=False, dtype=dtype, density=input_density, generator=generator
        )
        with torch.no_grad():
            self.weight.values.normal_(generator=generator)
            # The last digits of a large reservoir's radius take a hundred times as long.
            exact = {} if units <= 500 else {"tolerance": 1e-2}
            largest = spectral_radius(self.weight, **exact)
            self.weight.values.mul_(radius / largest if largest else 1.0)
            into.weight.values.uniform_(-1, 1, generator=generator)
            is_bias = into.weight.col_indices == inputs
            into.weight.values[is_bias] *= bias_scale
            into.weight.values[~is_bias] *= input_scale
        self.w_input = into.weight

    @torch.no_grad()
    def run(self, x: Tensor) -> Iterator[Tensor]:
        """Yield the states of all steps from a state of zeros, some steps at a time.

        Args:
            x: ``[steps, sequences, inputs]``.

        Yields:
            ``[some steps, sequences, units]``, in order.
        """
        units = self.weight.shape[0]
        h: Tensor | None = None
        for some in x.split(max(1, CHUNK // (units * max(1, x.shape[1])))):
            states = self._states(some, h)
            h = states[-1]
            yield states

    def _states(self, x: Tensor, h: Tensor | None) -> Tensor:
        values, pattern = self.weight.values, self.weight.pattern
        driven = self.w_input(nn.functional.pad(x, (0, 1), value=1.0))
        if self.leak == 1:
            return ops.rnn(driven, h, None, values, pattern)
        # One step of Euler's method for dh/ds = -h + tanh(...), as long as the leak.
        length = driven.new_full(driven.shape[:2], self.leak)
        return ops.ctrnn(driven, h, length, values, pattern, rate=driven.new_ones(driven.shape[-1]))
