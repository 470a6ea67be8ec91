"""Conversion of a whole dense model into one with sparse weights."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import type_before_parametrizations

from sparse_engine.deploy._replacement import full_name, obstacle, with_replaced
from sparse_engine.deploy.criteria import Criterion, DenseWeight, LargestMagnitude
from sparse_engine.deploy.report import ConversionReport, ConversionRow
from sparse_engine.nn import CELLS, Recurrent, SparseLinear, SparseWeight
from sparse_engine.nn._initial import check_density
from sparse_engine.nn.from_torch import effective

#: The network for each recurrent network of torch.nn.
RECURRENT: dict[type[nn.Module], type[Recurrent]] = {
    entry.dense: entry.network for entry in CELLS.values() if entry.dense is not None
}


class Converted(NamedTuple):
    """Result of :func:`convert_model`.

    Attributes:
        model: the model with sparse weights.
        report: sizes and errors, weight by weight; ``print(report)`` shows a table.
    """

    model: nn.Module
    report: ConversionReport


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
        The converted model and the report. Where ``model`` itself is a layer, the converted model
        is another object even with ``inplace``.

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
    layers = [
        (name, module)
        for name, module in model.named_modules(remove_duplicate=False)
        if _is_dense_layer(module)
    ]
    weights = [full_name(name, each) for name, module in layers for each in _weight_names(module)]
    plan.check_rules([name for name, _ in layers], weights)
    criterion = criterion or LargestMagnitude()
    criterion.calibrate(model)
    shared = _shared_weights(model)
    made: dict[int, nn.Module] = {}
    rows: dict[str, ConversionRow] = {}
    for name, module in layers:
        if id(module) not in made:
            made[id(module)] = _converted(name, module, plan, criterion, shared, rows)
    model = with_replaced(model, layers, made, inplace=inplace)
    return Converted(model, ConversionReport(tuple(rows.values())))


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
        full = full_name(module, weight)
        for pattern, density in self.rules.items():
            if fnmatchcase(full, pattern):
                return density
        first = weight.startswith("weight_ih_l0")
        for pattern, density in self.rules.items():
            if fnmatchcase(module, pattern):
                return self.input_density if first and density is not None else density
        return self.input_density if first and self.density is not None else self.density


def _is_dense_layer(module: nn.Module) -> bool:
    kind = type_before_parametrizations(module)
    return kind is nn.Linear or kind in RECURRENT


def _weight_names(module: nn.Module) -> list[str]:
    """Return the names of a layer's weights in torch's order, pruned and parametrized or not."""
    if isinstance(module, nn.RNNBase):
        names = [name for group in module._all_weights for name in group]
        return [name for name in names if name.startswith("weight")]
    return ["weight"]


def _shared_weights(model: nn.Module) -> set[int]:
    """Return the addresses of parameters that several modules have."""
    seen: set[int] = set()
    shared: set[int] = set()
    for module in model.modules():
        for parameter in module._parameters.values():
            if parameter is not None:
                (shared if id(parameter) in seen else seen).add(id(parameter))
    return shared


def _converted(
    name: str,
    module: nn.Module,
    plan: _Plan,
    criterion: Criterion,
    shared: set[int],
    rows: dict[str, ConversionRow],
) -> nn.Module:
    """Return the sparse counterpart of a layer, or the layer; add a row for each weight."""
    kind = type_before_parametrizations(module)
    gates = {nn.LSTM: 4, nn.GRU: 3}.get(kind, 1)
    values = {each: effective(module, each)[0] for each in _weight_names(module)}
    densities = {each: plan.density_of(name, each) for each in values}
    notes = dict.fromkeys(values, "")
    for each, density in densities.items():
        tied = id(module._parameters.get(each)) in shared
        note = obstacle(module) or ("shared with another module" if tied else "")
        if density is not None and note:
            densities[each], notes[each] = None, note
    masks = {
        each: criterion.mask(
            DenseWeight(
                full_name(name, each), values[each], 1 if each.startswith("weight_hr") else gates
            ),
            density,
        )
        for each, density in densities.items()
        if density is not None
    }
    if masks and kind in RECURRENT:  # such a network has links everywhere but at its input
        for each in values.keys() - masks.keys():
            if not each.startswith("weight_ih_l0"):
                masks[each] = torch.ones_like(values[each], dtype=torch.bool)
    for each in values:
        full = full_name(name, each)
        rows[full] = _row(full, values[each], masks.get(each), notes[each])
    if not masks:
        return module
    if isinstance(module, nn.Linear):
        return SparseLinear.from_dense(module, masks["weight"])
    assert isinstance(module, nn.RNNBase)
    return RECURRENT[kind].from_dense(module, mask=masks)


def _row(name: str, values: Tensor, kept: Tensor | None, note: str) -> ConversionRow:
    """Describe a weight that keeps some entries, or all of them where ``kept`` is None."""
    shape, before = (values.shape[0], values.shape[1]), values.nbytes
    if kept is None:
        return ConversionRow(name, shape, 1.0, before, before, 0.0, note or "dense")
    nnz = int(kept.sum())
    lost = float((values * ~kept).norm() / values.norm().clamp_min(1e-30))
    after = bytes_of_links(nnz, shape, values.element_size())
    return ConversionRow(name, shape, nnz / max(1, values.numel()), before, after, lost, note)


def bytes_of_links(nnz: int, shape: tuple[int, int], value_bytes: int) -> int:
    """Return the bytes of a weight's values, column indices and row pointers."""
    return nnz * (value_bytes + 4) + (shape[0] + 1) * 8


def bytes_of_weight(weight: SparseWeight) -> int:
    """Return the bytes of a sparse weight's values, column indices and row pointers."""
    return bytes_of_links(weight.nnz, weight.shape, weight.values.element_size())
