"""Activation functions of sparse perceptrons."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from sparse_engine.errors import InputError
from sparse_engine.nn.options import check_integer, check_number


class AllReLU(nn.Module):
    """Alternated left ReLU (Curci et al. 2021, "Truly sparse neural networks at scale").

    The result is x where x > 0. Elsewhere it is ``-slope * x`` in even layers, which is positive,
    and ``slope * x`` in odd ones. Equals ``torch.nn.functional.leaky_relu(x, -slope)`` and
    ``leaky_relu(x, slope)``. Nothing is learned.

    Args:
        slope: slope of the left side, at least 0; the paper takes 0.6 for MNIST and Fashion-MNIST,
            0.75 for CIFAR-10.
        layer: number of the hidden layer, from 0. The paper counts the input as layer 1, so that
            its first hidden layer, number 2, is even as well.

    Raises:
        ValueError: a negative slope or layer.
        TypeError: a layer that is no int.

    Example:
        >>> model = nn.Sequential(
        ...     SparseLinear(784, 1000, density=0.05), AllReLU(0.6, 0),
        ...     SparseLinear(1000, 1000, density=0.05), AllReLU(0.6, 1),
        ...     SparseLinear(1000, 10, density=0.5),
        ... )
    """

    def __init__(self, slope: float, layer: int) -> None:
        super().__init__()
        check_number("a finite slope of at least 0", slope, lambda s: 0 <= s < math.inf)
        check_integer("layer", layer, least=0)
        self.slope = slope
        self.layer = layer

    def forward(self, input: Tensor) -> Tensor:
        """Return the activations, of the shape of ``input``."""
        return functional.leaky_relu(input, self.slope if self.layer % 2 else -self.slope)

    def extra_repr(self) -> str:
        """Return what ``print(module)`` shows."""
        return f"slope={self.slope}, layer={self.layer}"


class SReLU(nn.Module):
    """S-shaped rectified linear unit (Jin et al. 2016).

    For each unit, along the last dimension of the input::

        t_r + a_r * (x - t_r)   where x >= t_r
        x                       where t_l < x < t_r
        t_l + a_l * (x - t_l)   where x <= t_l

    Equals ``x.clamp(t_l, t_r) + a_r * relu(x - t_r) - a_l * relu(t_l - x)``, which is continuous
    even if training brings ``t_r`` below ``t_l``.

    Attributes:
        t_r: Parameter ``[features]``, the right threshold; starts at U(0, 5).
        a_r: Parameter ``[features]``, the slope on its right; starts at 1.
        t_l: Parameter ``[features]``, the left threshold; starts at 0.
        a_l: Parameter ``[features]``, the slope on its left; starts at U(0, 1).

    The initial values are those of the SET experiments (Mocanu et al. 2018): a leaky ReLU of
    random slope.

    Args:
        features: number of units, at least 1.
        device: where the parameters are put.
        dtype: dtype of the parameters; torch's default dtype by default.
        generator: source of randomness on the CPU.

    Raises:
        ValueError: no features.
        TypeError: features that are no int.
    """

    t_r: nn.Parameter
    a_r: nn.Parameter
    t_l: nn.Parameter
    a_l: nn.Parameter

    def __init__(
        self,
        features: int,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        check_integer("features", features, least=1)
        self.features = features
        for name in self._starts:
            entries = torch.empty(features, device=device, dtype=dtype)
            self.register_parameter(name, nn.Parameter(entries))
        self.reset_parameters(generator)

    #: The bounds between which the parameters start.
    _starts: ClassVar = {"t_r": (0, 5), "a_r": (1, 1), "t_l": (0, 0), "a_l": (0, 1)}

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw the thresholds and slopes again, in place, by default from torch's generator."""
        for name, (low, high) in self._starts.items():
            own = getattr(self, name)
            start = torch.full_like(own, low, device="meta" if own.is_meta else "cpu")
            own.copy_(start.uniform_(low, high, generator=generator) if low < high else start)

    def forward(self, input: Tensor) -> Tensor:
        """Return the activations of ``input``, ``[..., features]``.

        Raises:
            InputError: another number of features.
        """
        x = input
        if x.dim() == 0 or x.shape[-1] != self.features:
            raise InputError(f"expected input of shape [..., {self.features}], found {[*x.shape]}")
        right, left = functional.relu(x - self.t_r), functional.relu(self.t_l - x)
        return x.clamp(self.t_l, self.t_r) + self.a_r * right - self.a_l * left

    def extra_repr(self) -> str:
        """Return what ``print(module)`` shows."""
        return f"{self.features}"
