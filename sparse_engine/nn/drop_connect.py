"""DropConnect: links dropped at random in training."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn
from torch.func import functional_call

from sparse_engine.nn._checks import check_fraction
from sparse_engine.nn.recurrent_weights import recurrent_weights
from sparse_engine.nn.weight import SparseWeight


class DropConnect(nn.Module):
    """Wrapper that drops links of a network, drawn anew at every call (Wan et al. 2013).

    In training, the network computes with ``dropout(values, p)``, as in AWD-LSTM: a dropped link is
    0 for the whole sequence, and the others are scaled by ``1 / (1 - p)``. In evaluation it
    computes with all links. The pattern does not change, and methods see the undropped values.

    Attributes:
        network: the wrapped module.
        weights: names, within the network, of the weights whose links are dropped.

    Args:
        network: any module with sparse weights.
        p: fraction of the links that is dropped, in [0, 1].
        weights: names of sparse weights in the network; by default those of all recurrent weights,
            see :meth:`Recurrent.recurrent_weights`.

    Raises:
        ValueError: p out of range, or a name that no sparse weight has.
        TypeError: a weight whose values are computed, such as a :class:`GroupedWeight`.

    Example:
        >>> lstm = DropConnect(SparseLSTM(400, 1150, density=0.45), p=0.5)
        >>> y, (h_n, c_n) = lstm(torch.randn(70, 20, 400))
    """

    def __init__(
        self, network: nn.Module, p: float = 0.5, *, weights: Iterable[str] | None = None
    ) -> None:
        super().__init__()
        check_fraction("p", p)
        self.network = network
        self.dropout = nn.Dropout(p)
        sparse = {
            name: module
            for name, module in network.named_modules()
            if isinstance(module, SparseWeight)
        }
        if weights is None:
            recurrent = recurrent_weights(network)
            weights = [name for name, weight in sparse.items() if weight in recurrent]
        self.weights = [*weights]
        if not self.weights or not sparse.keys() >= {*self.weights}:
            raise ValueError(
                f"expected names of sparse weights, some of {[*sparse]}, found {self.weights}"
            )
        for name in self.weights:
            if not isinstance(sparse[name].values, nn.Parameter):
                raise TypeError(
                    f"expected weights whose values are a Parameter, found {name}: {sparse[name]}"
                )

    def forward(self, *inputs: object, **options: object) -> object:
        """Return what the network returns, in training without the dropped links."""
        if not self.training or self.dropout.p == 0:
            return self.network(*inputs, **options)
        names = [f"{name}.values" for name in self.weights]
        dropped = {name: self.dropout(self.network.get_parameter(name)) for name in names}
        return functional_call(self.network, dropped, inputs, options)

    def extra_repr(self) -> str:
        """Return what ``print(module)`` shows."""
        return f"weights={self.weights}"
