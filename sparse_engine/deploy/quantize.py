"""Values of 8 or 16 bits for all sparse layers of a model."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from sparse_engine.deploy._replacement import full_name, has_hooks, obstacle, run_on, with_replaced
from sparse_engine.deploy.convert_model import bytes_of_weight
from sparse_engine.deploy.quantized import (
    LACKING,
    QuantizedGRU,
    QuantizedLinear,
    QuantizedLSTM,
    QuantizedRNN,
    QuantizedWeight,
)
from sparse_engine.deploy.report import ConversionReport, ConversionRow
from sparse_engine.nn import SparseGRU, SparseLinear, SparseLSTM, SparseRNN, SparseWeight
from sparse_engine.ops._dispatch.private import tree_leaves

QUANTIZED: dict[type[nn.Module], Any] = {
    SparseLinear: QuantizedLinear,
    SparseRNN: QuantizedRNN,
    SparseLSTM: QuantizedLSTM,
    SparseGRU: QuantizedGRU,
}


@dataclass(frozen=True)
class Deviation:
    """Difference between the outputs of two models, over all entries of all outputs.

    Attributes:
        largest: largest absolute difference.
        rms: root of the mean square of the differences.
        scale: root of the mean square of the first model's outputs.
    """

    largest: float
    rms: float
    scale: float

    def __str__(self) -> str:
        share = self.rms / self.scale if self.scale else 0.0
        return (
            f"outputs differ by {self.largest:.3g} at most and {self.rms:.3g} rms, "
            f"{share:.2%} of their own rms"
        )


class Quantized(NamedTuple):
    """Result of :func:`quantize`.

    Attributes:
        model: the quantized model.
        report: sizes and errors, weight by weight; ``print(report)`` shows a table.
        deviation: how much outputs on the given inputs differ, or None without inputs.
    """

    model: nn.Module
    report: ConversionReport
    deviation: Deviation | None


@torch.no_grad()
def quantize(
    model: nn.Module,
    *,
    dtype: torch.dtype = torch.int8,
    inputs: Iterable[Any] | None = None,
    inplace: bool = False,
) -> Quantized:
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
        inputs: batches on which both models are compared; a tuple holds several arguments.
        inplace: whether layers are replaced in ``model`` itself; by default in a copy.

    Returns:
        The quantized model, the report, and the deviation of outputs.

    Raises:
        ValueError: another dtype, values that are not finite, or inputs with ``inplace``, which
            leaves nothing to compare with.

    Example:
        >>> small, report, deviation = quantize(model, inputs=[x])
        >>> print(report, deviation)
    """
    if dtype not in (torch.int8, torch.bfloat16):
        raise ValueError(f"expected dtype torch.int8 or torch.bfloat16, found {dtype}")
    if inplace and inputs is not None:
        raise ValueError("expected no inputs with inplace, as no model is left to compare with")
    layers = [
        (name, module)
        for name, module in model.named_modules(remove_duplicate=False)
        if type(module) in QUANTIZED
    ]
    made: dict[int, nn.Module] = {}
    rows: list[ConversionRow] = []
    for name, module in layers:
        if id(module) not in made:
            made[id(module)], own = _quantized(name, module, dtype == torch.int8)
            rows += own
    changed = with_replaced(model, layers, made, inplace=inplace)
    deviation = None if inputs is None else deviation_of(model, changed, inputs)
    return Quantized(changed, ConversionReport(tuple(rows)), deviation)


def _quantized(name: str, module: nn.Module, int8: bool) -> tuple[nn.Module, list[ConversionRow]]:
    """Return what stands in for a layer, and a row for each of its weights."""
    weights = {each: w for each, w in module.named_children() if isinstance(w, SparseWeight)}
    note, small = _reason(module, weights), None
    if not note:
        small = QUANTIZED[type(module)].from_sparse(module, int8=int8)
        after = sum(getattr(small, each).nbytes for each in weights)
        if after >= sum(bytes_of_weight(weight) for weight in weights.values()):
            note, small = "smaller as it is", None
    rows = [
        _row(full_name(name, each), weight, getattr(small, each, None), note)
        for each, weight in weights.items()
    ]
    return (module if small is None else small), rows


def _reason(module: nn.Module, weights: dict[str, SparseWeight]) -> str:
    """Return why a layer stays as it is, or an empty text."""
    for option in LACKING:
        if getattr(module, option, False):
            return f"has {option}"
    if any(weight.dtype != torch.float32 for weight in weights.values()):
        return "not float32"
    if not all(weight.values.is_cpu for weight in weights.values()):
        return "not on the CPU"
    if any(has_hooks(weight) for weight in weights.values()):
        return "has hooks of its weights"
    return obstacle(module)


def _row(
    name: str, weight: SparseWeight, small: QuantizedWeight | None, note: str
) -> ConversionRow:
    before = bytes_of_weight(weight)
    if small is None:
        return ConversionRow(name, weight.shape, weight.density, before, before, 0.0, note)
    values = weight.values.detach()
    if small.codes.dtype == torch.bfloat16:
        rounded = values.bfloat16().float()
    else:
        scales = small.scales[weight.rows()].clamp_min(torch.finfo(torch.float32).tiny)
        rounded = (values / scales).round() * scales
    error = float((values - rounded).norm() / values.norm().clamp_min(1e-30))
    return ConversionRow(name, weight.shape, weight.density, before, small.nbytes, error)


@torch.no_grad()
def deviation_of(model: nn.Module, other: nn.Module, inputs: Iterable[Any]) -> Deviation:
    """Return how much the outputs of two models differ on batches of inputs.

    Raises:
        ValueError: there is no batch, or no output is a floating-point tensor.
    """
    largest, squares, own_squares, count = 0.0, 0.0, 0.0, 0
    for batch in inputs:
        pairs = zip(_tensors(run_on(model, batch)), _tensors(run_on(other, batch)), strict=True)
        for expected, found in pairs:
            difference = (found.double() - expected.double()).abs()
            largest = max(largest, float(difference.max()) if difference.numel() else 0.0)
            squares += float(difference.square().sum())
            own_squares += float(expected.double().square().sum())
            count += expected.numel()
    if not count:
        raise ValueError("expected inputs with floating-point outputs, found none")
    return Deviation(largest, (squares / count) ** 0.5, (own_squares / count) ** 0.5)


def _tensors(outputs: Any) -> list[Tensor]:
    return [
        each
        for each in tree_leaves(outputs)
        if isinstance(each, Tensor) and each.is_floating_point()
    ]
