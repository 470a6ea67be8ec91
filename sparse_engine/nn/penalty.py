"""L1 and L2 penalties on links."""

from __future__ import annotations

import math
from functools import reduce

import torch
from torch import Tensor, nn

from sparse_engine.nn._checks import check_number
from sparse_engine.nn.weight import SparseWeight


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
