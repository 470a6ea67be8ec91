"""Conversion of a whole dense model into one with sparse weights, and back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from fnmatch import fnmatchcase
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import type_before_parametrizations

from sparse_engine.deploy._replacement import full_name, layers_of, obstacle, with_replaced
from sparse_engine.deploy.criteria import Criterion, LargestMagnitude
from sparse_engine.deploy.report import ConversionReport, ConversionRow, Converted, bytes_of_links
from sparse_engine.nn import CELLS, Recurrent, SparseLinear
from sparse_engine.nn._initial import check_density
from sparse_engine.nn.from_torch import effective
from sparse_engine.nn.linear import LinearOf

#: The network for each recurrent network of torch.nn.
RECURRENT: dict[type[nn.Module], type[Recurrent]] = {
    entry.cell.dense_type: entry.network
    for entry in CELLS.values()
    if entry.cell.dense_type is not None
}


def convert_model(
    model: nn.Module,
    *,
    density: float | None = None,
    rules: Mapping[str, float | None] | None = None,
    input_density: float | None = None,
    criterion: Criterion | None = None,
    inplace: bool = False,
) -> Converted:
    """Replace each ``nn.Linear``, ``nn.RNN``, ``nn.LSTM`` and ``nn.GRU`` by its sparse counterpart.

    Links keep the values of the entries that the criterion keeps; biases, options, names, the mode
    (train or eval), ``requires_grad``, hooks and attributes stay. Each weight of a recurrent
    network has a density of its own. A weight that is the same Parameter as another, such as a
    decoder tied to its embedding, stays dense, and so does a layer with hooks of its state dict or
    a ``forward`` of its own; the report says why.

    Args:
        model: the dense model; a layer by itself will do.
        density: fraction of each weight to keep, in (0, 1], where no rule says otherwise. None
            leaves dense what no rule matches.
        rules: densities by the name of a module or of a weight, such as ``"encoder"``,
            ``"decoder*"`` or ``"rnn.weight_ih_l0"``, with the wildcards of :mod:`fnmatch`. None
            leaves a weight dense. The first rule that matches counts.
        input_density: density of the input weights of a recurrent network's first layer, where no
            rule names the weight; None leaves them dense, as sparse networks have them by default.
        criterion: what decides which entries are kept; by default :class:`LargestMagnitude`.
        inplace: whether layers are replaced in ``model`` itself; by default in a copy.

    Returns:
        The converted model, another object where ``model`` itself is a layer, and the report.

    Raises:
        ValueError: a density outside (0, 1], a rule that matches nothing, or neither density nor
            rules.

    Example:
        >>> sparse, report = convert_model(model, density=0.1, rules={"decoder*": 0.2})
        >>> print(report)
    """
    if density is None and not rules:
        raise ValueError("expected a density or rules, found neither")
    plan = _Plan(density, dict(rules or {}), input_density)
    layers = layers_of(model, _is_dense)
    weights = [full_name(name, each) for name, module in layers for each in _weight_names(module)]
    plan.check_rules([name for name, _ in layers], weights)
    criterion = criterion or LargestMagnitude()
    criterion.calibrate(model)
    report = ConversionReport()
    change = partial(_converted, plan, criterion, _shared_weights(model), report)
    return Converted(with_replaced(model, _is_dense, change, inplace=inplace), report)


class _Plan(NamedTuple):
    """Densities of weights by their names."""

    density: float | None
    rules: dict[str, float | None]
    input_density: float | None

    def check_rules(self, modules: list[str], weights: list[str]) -> None:
        """Raise ValueError for a density out of range, and for a rule that matches nothing."""
        densities = self.density, self.input_density, *self.rules.values()
        for density in densities:
            if density is not None:
                check_density(density)
        for pattern in self.rules:
            if not any(fnmatchcase(name, pattern) for name in [*modules, *weights]):
                raise ValueError(
                    f"expected rules that match one of {sorted(modules)} or of their weights, "
                    f"found {pattern!r}"
                )

    def density_of(self, module: str, weight: str) -> float | None:
        """Return the density of a weight, or None where it stays dense."""
        for pattern, density in self.rules.items():
            if fnmatchcase(full_name(module, weight), pattern):
                return density
        of_modules = [*self.rules.items(), ("*", self.density)]
        density = next(density for pattern, density in of_modules if fnmatchcase(module, pattern))
        first = weight.startswith("weight_ih_l0")
        return self.input_density if first and density is not None else density


def to_dense(model: nn.Module, *, inplace: bool = False) -> nn.Module:
    """Replace each sparse or quantized layer by the layer of torch.nn that computes the same.

    Tools that know nothing else, such as those of ONNX, can use the result.

    Args:
        model: a model with sparse layers; a layer by itself will do.
        inplace: whether layers are replaced in ``model`` itself; by default in a copy.

    Returns:
        The model with dense weights.

    Raises:
        ValueError: a network with an option that torch.nn lacks, such as layer_norm.

    Example:
        >>> to_dense(model)
        Linear(in_features=6, out_features=6, bias=True)
    """

    def change(name: str, layer: Any) -> nn.Module:
        return layer.to_dense().train(layer.training)

    return with_replaced(model, _has_counterpart, change, inplace=inplace)


def _is_dense(module: nn.Module) -> bool:
    kind = type_before_parametrizations(module)
    return kind is nn.Linear or kind in RECURRENT


def _has_counterpart(module: nn.Module) -> bool:
    if isinstance(module, Recurrent):
        return module.cell.dense_type is not None
    return isinstance(module, LinearOf)


def _weight_names(module: nn.Module) -> list[str]:
    """Return the names of a layer's weights in torch's order, pruned and parametrized or not."""
    if isinstance(module, nn.RNNBase):
        names = [name for group in module._all_weights for name in group]
        return [name for name in names if name.startswith("weight")]
    return ["weight"]


def _shared_weights(model: nn.Module) -> set[int]:
    """Return the addresses of parameters that several modules have."""
    held = [id(each) for module in model.modules() for each in module._parameters.values()]
    return {each for each, count in Counter(held).items() if count > 1} - {id(None)}


def _converted(
    plan: _Plan,
    criterion: Criterion,
    shared: set[int],
    report: ConversionReport,
    name: str,
    module: nn.Module,
) -> nn.Module:
    """Return the sparse counterpart of a layer, or the layer; add a row for each weight."""
    kind = type_before_parametrizations(module)
    gates = {nn.LSTM: 4, nn.GRU: 3}.get(kind, 1)
    values = {each: effective(module, each)[0] for each in _weight_names(module)}
    masks: dict[str, Tensor] = {}
    notes = dict.fromkeys(values, "")
    for each, entries in values.items():
        density = plan.density_of(name, each)
        if density is None:
            continue
        tied = id(module._parameters.get(each)) in shared
        notes[each] = obstacle(module) or ("shared with another module" if tied else "")
        if not notes[each]:
            blocks = 1 if each.startswith("weight_hr") else gates
            masks[each] = criterion.mask(full_name(name, each), entries, density, blocks)
    if masks and kind in RECURRENT:  # such a network has links everywhere but at its input
        for each in values.keys() - masks.keys():
            if not each.startswith("weight_ih_l0"):
                masks[each] = torch.ones_like(values[each], dtype=torch.bool)
    for each, entries in values.items():
        report[full_name(name, each)] = _row(entries, masks.get(each), notes[each])
    if not masks:
        return module
    if isinstance(module, nn.Linear):
        return SparseLinear.from_dense(module, masks["weight"])
    assert isinstance(module, nn.RNNBase)
    return RECURRENT[kind].from_dense(module, mask=masks)


def _row(values: Tensor, kept: Tensor | None, note: str) -> ConversionRow:
    """Describe a weight that keeps some entries, or all of them where ``kept`` is None."""
    shape, before = (values.shape[0], values.shape[1]), values.nbytes
    if kept is None:
        return ConversionRow(shape, 1.0, before, before, 0.0, note or "dense")
    nnz = int(kept.sum())
    lost = float((values * ~kept).norm() / values.norm().clamp_min(1e-30))
    after = bytes_of_links(nnz, shape[0], values.element_size())
    return ConversionRow(shape, nnz / max(1, values.numel()), before, after, lost, note)
