"""Ridge regression on the states of a large reservoir."""

from __future__ import annotations

import torch
from torch import Tensor

#: Number of features up to which the matrix of their products is decomposed.
DECOMPOSED = 3000
#: Bytes of states that are read twice while they are in a cache.
BLOCK = 2 << 20
#: Relative residual at which conjugate gradients end, and most iterations.
TOLERANCE, ITERATIONS = 1e-5, 1000


def ridge(x: Tensor, y: Tensor, penalty: float) -> tuple[Tensor, Tensor]:
    """Return the coefficients and the intercept that minimize a penalized squared error.

    Minimizes ``|x @ w + b - y|^2 + penalty * |w|^2``. Up to :data:`DECOMPOSED` features, the normal
    equations are solved by a Cholesky decomposition in float64; beyond, by conjugate gradients with
    the diagonal as preconditioner, to a relative residual of :data:`TOLERANCE`: one pass over x for
    each iteration, and no matrix of features x features.

    Args:
        x: float32 or float64 ``[samples, features]``.
        y: ``[samples, targets]``, of the same dtype.
        penalty: greater than 0.

    Returns:
        The coefficients ``[features, targets]`` and the intercept ``[targets]``.
    """
    mean, level = x.mean(0), y.mean(0)
    solve = _decompose if x.shape[1] <= DECOMPOSED else _iterate
    coefficients = solve(x, mean, y - level, penalty)
    return coefficients, level - mean @ coefficients


def _decompose(x: Tensor, mean: Tensor, y: Tensor, penalty: float) -> Tensor:
    features = x.shape[1]
    products = torch.zeros(features, features, dtype=torch.float64)
    right = torch.zeros(features, y.shape[1], dtype=torch.float64)
    for some, targets in zip(x.split(4096), y.split(4096), strict=True):
        centred = some.double() - mean.double()
        products.addmm_(centred.T, centred)
        right.addmm_(centred.T, targets.double())
    products.diagonal().add_(penalty)
    return torch.cholesky_solve(right, torch.linalg.cholesky(products)).to(x.dtype)


def _iterate(x: Tensor, mean: Tensor, y: Tensor, penalty: float) -> Tensor:
    rows = max(1, BLOCK // (x.shape[1] * x.element_size()))
    blocks = x.split(rows)
    count = x.shape[0]

    def apply(v: Tensor) -> Tensor:
        product = penalty * v - count * mean[:, None] * (mean @ v)
        for block in blocks:
            product.addmm_(block.T, block @ v)
        return product

    square = torch.zeros_like(mean)
    residual = torch.zeros(x.shape[1], y.shape[1], dtype=x.dtype)
    for block, targets in zip(blocks, y.split(rows), strict=True):
        square += block.square().sum(0)
        residual.addmm_(block.T, targets)
    diagonal = (square - count * mean.square()).clamp(min=0)[:, None] + penalty
    least = TOLERANCE * residual.norm(dim=0)
    solution = torch.zeros_like(residual)
    direction = conditioned = residual / diagonal
    descent = (residual * conditioned).sum(0)
    tiny = torch.finfo(x.dtype).tiny
    for _ in range(ITERATIONS):
        if (residual.norm(dim=0) <= least).all():
            break
        image = apply(direction)
        step = descent / (direction * image).sum(0).clamp(min=tiny)
        solution = solution + step * direction
        residual = residual - step * image
        conditioned = residual / diagonal
        before, descent = descent, (residual * conditioned).sum(0)
        direction = conditioned + descent / before.clamp(min=tiny) * direction
    return solution
