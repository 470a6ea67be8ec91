"""Sparse models as models of torch.nn, for tools that know nothing else, such as ONNX."""

from __future__ import annotations

from typing import Any

from torch import nn

from sparse_engine.deploy._replacement import Named, with_replaced
from sparse_engine.deploy.quantized import QuantizedLinear
from sparse_engine.nn import Recurrent, SparseLinear


def to_dense(model: nn.Module, *, inplace: bool = False) -> nn.Module:
    """Replace each sparse or quantized layer by the layer of torch.nn that computes the same.

    Args:
        model: a model with sparse layers; a layer by itself will do.
        inplace: whether layers are replaced in ``model`` itself; by default in a copy.

    Returns:
        The model with dense weights.

    Raises:
        ValueError: a network with an option that torch.nn lacks, such as layer_norm.
    """
    layers: Named = [
        (name, module)
        for name, module in model.named_modules(remove_duplicate=False)
        if _has_counterpart(module)
    ]
    made: dict[int, nn.Module] = {}
    for _, module in layers:
        dense: Any = module
        made[id(module)] = dense.to_dense().train(module.training)
    return with_replaced(model, layers, made, inplace=inplace)


def _has_counterpart(module: nn.Module) -> bool:
    if isinstance(module, Recurrent):
        return module.cell.dense_type is not None
    return isinstance(module, SparseLinear | QuantizedLinear)
