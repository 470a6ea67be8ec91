"""All-ReLU: a ReLU whose left side alternates from layer to layer."""

from __future__ import annotations

import math

from torch import Tensor, nn
from torch.nn import functional

from sparse_engine.nn._checks import check_integer, check_number


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
