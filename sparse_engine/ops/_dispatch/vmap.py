"""Rules by which ``torch.vmap`` runs an operation on many samples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from sparse_engine.ops._dispatch.private import (
    add_batch,
    begin_legacy_vmap,
    end_legacy_vmap,
    is_legacy_batched,
    remove_batch,
    tree_flatten,
    tree_leaves,
    tree_unflatten,
)


def any_is_mapped(dims: object) -> bool:
    """Tell whether an argument, which may be a list, has samples."""
    return any(dim is not None for dim in tree_leaves(dims))


def one_by_one(
    function: Callable, samples: int, in_dims: tuple, inputs: tuple
) -> tuple[Tensor | tuple[Tensor, ...], int | tuple[int, ...]]:
    """Run a function once for each sample; return the stacked results and their dimensions."""
    leaves, structure = tree_flatten(inputs)
    dims = structure.flatten_up_to(in_dims)

    def of_sample(leaf: Any, dim: int | None, at: int) -> Any:
        if dim is None:
            return leaf
        sample = leaf.select(dim, at)
        return sample if sample.is_floating_point() else sample.contiguous()

    results = []
    for at in range(samples):
        own = [of_sample(leaf, dim, at) for leaf, dim in zip(leaves, dims, strict=True)]
        results.append(function(*tree_unflatten(own, structure)))
    if isinstance(results[0], Tensor):
        return torch.stack(results), 0
    return tuple(map(torch.stack, zip(*results, strict=True))), (0,) * len(results[0])


def in_legacy_vmap(function: Callable) -> Callable:
    """Return the rule of an operation for ``torch.autograd.grad(..., is_grads_batched=True)``.

    That and ``functional.jacobian(vectorize=True)`` do not go through ``torch.func``, but an older
    vmap. Its tensors are taken apart here, as its own fallback does not know lists of tensors.
    """

    def run(*inputs: object) -> object:
        level = begin_legacy_vmap() - 1
        end_legacy_vmap()
        leaves, structure = tree_flatten(inputs)
        legacy = (isinstance(leaf, Tensor) and is_legacy_batched(leaf) for leaf in leaves)
        dims = [0 if each else None for each in legacy]
        plain = [
            leaf if dim is None else remove_batch(leaf, level, 1, 0)
            for leaf, dim in zip(leaves, dims, strict=True)
        ]
        samples = next(len(leaf) for leaf, dim in zip(plain, dims, strict=True) if dim == 0)
        in_dims, inputs = (tuple(tree_unflatten(each, structure)) for each in (dims, plain))
        results, _ = one_by_one(function, samples, in_dims, inputs)
        if isinstance(results, Tensor):
            return add_batch(results, 0, level)
        return tuple(add_batch(each, 0, level) for each in results)

    return run


def by_columns(
    function: Callable[..., Tensor], position: int, dim: int, inputs: tuple
) -> tuple[Tensor, int]:
    """Run a function that maps a matrix column by column once, on the columns of all samples.

    The matrix, the input at ``position``, is the only one that has samples.
    """
    x = inputs[position].movedim(dim, 1)
    y = function(*inputs[:position], x.flatten(1), *inputs[position + 1 :])
    return y.unflatten(1, x.shape[1:]), 1
