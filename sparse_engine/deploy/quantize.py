"""Values of 8 or 16 bits for all sparse layers of a model."""

from __future__ import annotations

from functools import partial

import torch
from torch import nn

from sparse_engine.deploy._replacement import full_name, has_hooks, obstacle, with_replaced
from sparse_engine.deploy.quantized import QUANTIZED, QuantizedWeight, options_lacking
from sparse_engine.deploy.report import ConversionReport, ConversionRow, Converted, bytes_of_links
from sparse_engine.nn import SparseWeight


@torch.no_grad()
def quantize(
    model: nn.Module, *, dtype: torch.dtype = torch.int8, inplace: bool = False
) -> Converted:
    """Store the links of sparse layers with values of 8 or 16 bits, for inference on the CPU.

    ``SparseLinear``, ``SparseRNN``, ``SparseLSTM`` and ``SparseGRU`` are replaced by layers that
    compute the same with rounded values; a link then takes 3 to 6 bytes instead of 8, and products
    with up to 4 rows or sequences take less time. Biases and dense weights stay float32. A layer
    stays as it is, and the report says why, where it has layer normalisation or a projection, or
    values that are not float32, or so few links that they take less memory as they are, or hooks of
    its state dict or its weights, or a ``forward`` of its own. Other hooks and attributes stay.

    Args:
        model: a model with sparse layers; a layer by itself will do.
        dtype: ``torch.int8``, with a scale for each row, or ``torch.bfloat16``.
        inplace: whether layers are replaced in ``model`` itself; by default in a copy.

    Returns:
        The quantized model and the report.

    Raises:
        ValueError: another dtype, or values that are not finite.

    Example:
        >>> small, report = quantize(model)
        >>> print(report)
    """
    if dtype not in (torch.int8, torch.bfloat16):
        raise ValueError(f"expected dtype torch.int8 or torch.bfloat16, found {dtype}")
    report = ConversionReport()
    change = partial(_quantized, report, dtype == torch.int8)
    changed = with_replaced(model, lambda each: type(each) in QUANTIZED, change, inplace=inplace)
    return Converted(changed, report)


def _quantized(report: ConversionReport, int8: bool, name: str, module: nn.Module) -> nn.Module:
    """Return what stands in for a layer; add a row for each of its weights."""
    weights = {each: w for each, w in module.named_children() if isinstance(w, SparseWeight)}
    note, small = _reason(module, weights), None
    if not note:
        small = QUANTIZED[type(module)].from_sparse(module, int8=int8)
        after = sum(getattr(small, each).nbytes for each in weights)
        if after >= sum(map(_bytes_of, weights.values())):
            note, small = "smaller as it is", None
    for each, weight in weights.items():
        report[full_name(name, each)] = _row(weight, getattr(small, each, None), note)
    return module if small is None else small


def _reason(module: nn.Module, weights: dict[str, SparseWeight]) -> str:
    """Return why a layer stays as it is, or an empty text."""
    lacking = options_lacking(module)
    if lacking:
        return f"has {lacking[0]}"
    if any(weight.dtype != torch.float32 for weight in weights.values()):
        return "not float32"
    if not all(weight.values.is_cpu for weight in weights.values()):
        return "not on the CPU"
    if any(has_hooks(weight) for weight in weights.values()):
        return "has hooks of its weights"
    return obstacle(module)


def _bytes_of(weight: SparseWeight) -> int:
    return bytes_of_links(weight.nnz, weight.shape[0], weight.values.element_size())


def _row(weight: SparseWeight, small: QuantizedWeight | None, note: str) -> ConversionRow:
    before = _bytes_of(weight)
    if small is None:
        return ConversionRow(weight.shape, weight.density, before, before, 0.0, note)
    values = weight.values.detach()
    if small.codes.dtype == torch.bfloat16:
        rounded = values.bfloat16().float()
    else:
        scales = small.scales[weight.rows()].clamp_min(torch.finfo(torch.float32).tiny)
        rounded = (values / scales).round() * scales
    error = float((values - rounded).norm() / values.norm().clamp_min(1e-30))
    return ConversionRow(weight.shape, weight.density, before, small.nbytes, error)
