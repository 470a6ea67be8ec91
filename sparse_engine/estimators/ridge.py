"""Ridge regression on the states of a large reservoir."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

#: Number of features up to which the matrix of their products is decomposed whatever the penalty.
DECOMPOSED = 3000
#: Samples and columns that are multiplied at once for that matrix.
SAMPLES, COLUMNS = 4096, 512
#: Number of samples whose products precondition conjugate gradients.
SUBSET = 1024
#: Bytes of samples that are read twice while they are in a cache.
BLOCK = 2 << 20
#: Relative error at which conjugate gradients end, and most iterations.
TOLERANCE, ITERATIONS = 1e-5, 100


def ridge(x: Tensor, y: Tensor, penalty: float) -> tuple[Tensor, Tensor]:
    """Return the coefficients and the intercept that minimize a penalized squared error.

    Minimizes ``|x @ w + b - y|^2 + penalty * |w|^2`` in one of two ways. A Cholesky decomposition
    of the normal equations in float64 takes memory of features x features. Conjugate gradients take
    a pass over x for each iteration, and end where the error is :data:`TOLERANCE` of the solution,
    both in the norm of the normal equations. They are for more than :data:`DECOMPOSED` features,
    and for penalties beside which the rounding of products with x has no weight; where they do not
    end in :data:`ITERATIONS` iterations, the decomposition follows.

    Args:
        x: float32 or float64 ``[samples, features]``.
        y: ``[samples, targets]``, of the same dtype.
        penalty: greater than 0.

    Returns:
        The coefficients ``[features, targets]`` and the intercept ``[targets]``.
    """
    mean, level = x.mean(0).double(), y.mean(0)
    iterate = x.shape[1] > DECOMPOSED and _outweighs_rounding(x, penalty)
    solve = _iterate if iterate else _decompose
    coefficients = solve(x, mean, y - level, penalty)
    return coefficients, level - mean.to(x.dtype) @ coefficients


def _decompose(x: Tensor, mean: Tensor, y: Tensor, penalty: float) -> Tensor:
    features = x.shape[1]
    products = torch.zeros(features, features, dtype=torch.float64)
    right = torch.zeros(features, y.shape[1], dtype=torch.float64)
    for some, targets in zip(x.split(SAMPLES), y.split(SAMPLES), strict=True):
        centred = some.double() - mean
        for at in range(0, features, COLUMNS):  # the lower triangle alone
            columns = slice(at, at + COLUMNS)
            products[at:, columns].addmm_(centred[:, at:].T, centred[:, columns])
        right.addmm_(centred.T, targets.double())
    products.diagonal().add_(penalty)
    return torch.cholesky_solve(right, torch.linalg.cholesky(products)).to(x.dtype)


def _outweighs_rounding(x: Tensor, penalty: float) -> bool:
    """Tell whether rounding of ``x.T @ (x @ v)`` is small beside ``penalty * v``."""
    some = _evenly_spaced(x)
    energy = float(some.square().sum()) * x.shape[0] / some.shape[0]
    return torch.finfo(x.dtype).eps * energy < 1e-2 * penalty


def _iterate(x: Tensor, mean: Tensor, y: Tensor, penalty: float) -> Tensor:
    """Solve the normal equations by conjugate gradients in float64, with products in x's dtype."""
    rows = max(1, BLOCK // (x.shape[1] * x.element_size()))
    blocks, count = x.split(rows), x.shape[0]

    def apply(v: Tensor) -> Tensor:
        rounded = v.to(x.dtype)
        product = torch.zeros_like(rounded)
        for block in blocks:
            product.addmm_(block.T, block @ rounded)
        return product.double() + penalty * v - count * mean[:, None] * (mean @ v)

    condition = _preconditioner(x, mean, penalty)
    right = torch.zeros(x.shape[1], y.shape[1], dtype=x.dtype)
    for block, targets in zip(blocks, y.split(rows), strict=True):
        right.addmm_(block.T, targets)
    residual = right.double()
    solution = torch.zeros_like(residual)
    direction = conditioned = condition(residual)
    descent = (residual * conditioned).sum(0)
    least, tiny = TOLERANCE**2 * descent, torch.finfo(torch.float64).tiny
    for _ in range(ITERATIONS):
        if (descent <= least).all():
            return solution.to(x.dtype)
        image = apply(direction)
        step = descent / (direction * image).sum(0).clamp(min=tiny)
        solution += step * direction
        residual -= step * image
        conditioned = condition(residual)
        before, descent = descent, (residual * conditioned).sum(0)
        direction = conditioned + descent / before.clamp(min=tiny) * direction
    return _decompose(x, mean, y, penalty)


def _preconditioner(x: Tensor, mean: Tensor, penalty: float) -> Callable[[Tensor], Tensor]:
    """Return what solves the normal equations of a part of the samples.

    States of a reservoir vary much in few directions only, and a part shows these as well. With
    centred and scaled samples as the rows of S, Woodbury's identity has the inverse of
    ``S.T @ S + penalty`` as ``(1 - S.T @ (S @ S.T + penalty)^-1 @ S) / penalty``, in which the
    matrix to decompose is one of samples x samples.
    """
    some = _evenly_spaced(x).double() - mean
    some *= (x.shape[0] / some.shape[0]) ** 0.5
    products = some @ some.T
    products.diagonal().add_(penalty)
    factor = torch.linalg.cholesky(products)

    def condition(v: Tensor) -> Tensor:
        return (v - some.T @ torch.cholesky_solve(some @ v, factor)) / penalty

    return condition


def _evenly_spaced(x: Tensor) -> Tensor:
    """Return about :data:`SUBSET` of the samples."""
    return x[:: -(-x.shape[0] // SUBSET)]
