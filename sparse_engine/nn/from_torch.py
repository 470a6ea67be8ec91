"""Conversion of layers and networks from and to their counterparts in torch.nn."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized, type_before_parametrizations

from sparse_engine.nn._initial import density_nnz
from sparse_engine.nn.weight import SparseWeight

if TYPE_CHECKING:
    from sparse_engine.nn.recurrent import Recurrent

#: Options of every network of torch.nn.
OF_TORCH = (
    "input_size",
    "hidden_size",
    "num_layers",
    "bias",
    "batch_first",
    "dropout",
    "bidirectional",
)
KINDS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")


def from_dense(
    kind: type[Recurrent],
    dense: nn.RNNBase,
    *,
    density: float | None = None,
    mask: Tensor | Mapping[str, Tensor] | None = None,
    input_density: float = 1.0,
) -> Any:
    """Make a sparse network that keeps some weights of a dense network, with their values.

    Args:
        kind: the class of the network.
        dense: the network to copy, with all of its options.
        density: fraction of each sparse weight to keep, the largest entries by magnitude.
        mask: the entries to keep: a bool matrix for ``weight_hh_l0``, or a mapping from
            parameter names to matrices. Without density or mask, the entries that
            ``torch.nn.utils.prune`` has kept in a pruned weight, and in any other weight
            those that are not 0.
        input_density: fraction of layer 0's input weights to keep; 1.0 keeps them dense.

    The mode and ``requires_grad`` are those of the dense network.

    Raises:
        TypeError: ``dense`` is not the counterpart of this network in torch.nn, or there is
            none.
        ValueError: both density and mask, or a mask that does not fit.
    """
    counterpart, found = _counterpart(kind), type_before_parametrizations(dense)
    if found is not counterpart:
        raise TypeError(f"expected a torch.nn.{counterpart.__name__}, found {found.__name__}")
    if density is not None and mask is not None:
        raise ValueError("expected density or mask, found both")
    if isinstance(mask, Tensor):
        mask = {"weight_hh_l0": mask}
    masks = dict(mask or {})
    options = {name: getattr(dense, name) for name in (*OF_TORCH, *kind.cell_type.torch_options)}
    network = without_weights(kind, options)
    for name in parameters_of(network, dense):
        (values, pruned), trained = effective(dense, name), takes_gradients(dense, name)
        first = name.startswith("weight_ih_l0")
        share = input_density if first else density
        kept = None
        if name.startswith("weight"):
            kept = masks.pop(name, pruned if density is None and mask is None else None)
        if name.startswith("bias") or (first and share == 1 and kept is None):
            put(network, name, nn.Parameter(values.clone(), trained))
            continue
        if kept is None and share is not None:
            kept = magnitude_mask(values, share)
        put(network, name, SparseWeight.from_dense(values, kept).requires_grad_(trained))
    if masks:
        raise ValueError(f"expected masks for sparse weights, found {sorted(masks)}")
    return network.train(dense.training)


def to_dense(network: Recurrent) -> nn.RNNBase:
    """Return the network of torch.nn that computes the same.

    Raises:
        TypeError: the network has no counterpart in torch.nn.
        ValueError: an option that torch.nn lacks is in use, such as cell_clip or layer_norm.
    """
    counterpart, cell = _counterpart(type(network)), network.cell
    for each in fields(cell):
        value = getattr(cell, each.name)
        if each.name not in cell.torch_options and value != each.default:
            raise ValueError(f"expected no {each.name} to convert, found {value}")
    options = {name: getattr(network, name) for name in (*OF_TORCH, *cell.torch_options)}
    weight = next(network.parameters())
    dense = counterpart(**options, device=weight.device, dtype=weight.dtype)
    with torch.no_grad():
        for name, parameter in dense.named_parameters():
            own = getattr(network, name)
            parameter.copy_(own.to_dense() if isinstance(own, SparseWeight) else own)
    return dense.train(network.training)


def without_weights(kind: type[Recurrent], options: Mapping[str, Any]) -> Any:
    """Make a network with these options on the meta device, with next to no links."""
    with warnings.catch_warnings():  # the network that has these options has warned before
        warnings.simplefilter("ignore")
        return kind(
            **options,
            density=sys.float_info.min,
            device="meta",
            generator=torch.Generator(),  # leaves torch's global generator as it is
        )


def put(network: Recurrent, name: str, value: nn.Parameter | nn.Module) -> None:
    """Replace a weight by one of any kind, and make it the last parameter."""
    delattr(network, name)
    setattr(network, name, value)


def parameters_of(network: Recurrent, owner: nn.Module) -> Iterator[str]:
    """Yield the names of the weights and biases that ``owner`` has, in torch's order."""
    for suffix, _ in network.layers():
        for kind in KINDS:
            if hasattr(owner, f"{kind}_{suffix}"):
                yield f"{kind}_{suffix}"


def _counterpart(kind: type[Recurrent]) -> type[nn.RNNBase]:
    counterpart = kind.cell_type.dense_type
    if counterpart is None:
        raise TypeError(f"expected a network with a counterpart in torch.nn, found {kind.__name__}")
    return counterpart


def effective(module: nn.Module, name: str) -> tuple[Tensor, Tensor | None]:
    """Return the values with which a module computes, and the mask that pruned them, or None.

    The parameter ``name`` may be parametrized, or pruned by ``torch.nn.utils.prune``.
    """
    mask = getattr(module, f"{name}_mask", None)
    if mask is None:
        return getattr(module, name).detach(), None
    return (getattr(module, f"{name}_orig") * mask).detach(), mask.bool()


def takes_gradients(module: nn.Module, name: str) -> bool:
    """Whether a module trains the parameter ``name``, or what it is computed from."""
    if is_parametrized(module, name):
        parameters = module.get_submodule(f"parametrizations.{name}").parameters()
        return any(each.requires_grad for each in parameters)
    # Those of torch.nn.utils.prune, spectral_norm and weight_norm, beside the parameter itself.
    sources = (module._parameters.get(name + end) for end in ("", "_orig", "_g", "_v"))
    return any(each is not None and each.requires_grad for each in sources)


def magnitude_mask(dense: Tensor, density: float) -> Tensor:
    """Return a mask of the fraction ``density`` of the entries that is largest by magnitude."""
    count = density_nnz(dense.shape[0], dense.shape[1], density)
    mask = torch.zeros(dense.numel(), dtype=torch.bool, device=dense.device)
    mask[dense.abs().flatten().topk(count).indices] = True
    return mask.view_as(dense)
