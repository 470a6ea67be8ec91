"""Regularisers of links: DropConnect, and L1 and L2 penalties."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import reduce

import torch
from torch import Tensor, nn
from torch.func import functional_call

from sparse_engine.nn.options import check_fraction, check_number
from sparse_engine.nn.recurrent import recurrent_weights
from sparse_engine.nn.weight import SparseWeight


class DropConnect(nn.Module):
    """Wrapper that drops links of a network, drawn anew at every call (Wan et al. 2013).

    In training, the network computes with ``dropout(values, p)``, as in AWD-LSTM: a dropped link is
    0 for the whole sequence, and the others are scaled by ``1 / (1 - p)``. In evaluation it
    computes with all links. The pattern does not change, and methods see the undropped values.

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


def link_penalty(model: nn.Module, *, l1: float = 0.0, l2: float = 0.0) -> Tensor:
    """Return ``l1 * sum |w| + l2 * sum w^2`` over the links of a model, to add to the loss.

    The sums run over the values of every :class:`SparseWeight`, once each, even where a model uses
    a weight several times. Biases and dense layers are left out. An ``l2`` of c has the gradient of
    a ``weight_decay`` of 2c. The gradient of ``|w|`` at 0, where new links start, is 0.

    Args:
        model: a module with sparse weights.
        l1: factor of the sum of magnitudes, at least 0.
        l2: factor of the sum of squares, at least 0.

    Returns:
        A differentiable scalar.

    Raises:
        ValueError: a negative factor, or a model without sparse weights.

    Example:
        >>> loss = model(x).square().mean() + link_penalty(model, l1=1e-4)
    """
    for name, factor in (("l1", l1), ("l2", l2)):
        check_number(f"a finite {name} of at least 0", factor, lambda f: 0 <= f < math.inf)
    weights = [module for module in model.modules() if isinstance(module, SparseWeight)]
    if not weights:
        raise ValueError("expected a model with sparse weights, found none in it")
    for weight in weights:
        weight.refresh()
    values = dict.fromkeys(weight.values for weight in weights)
    terms = (l1 * links.abs().sum() + l2 * links.square().sum() for links in values)
    return reduce(torch.add, terms)
