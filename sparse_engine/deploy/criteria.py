"""Criteria by which a dense weight keeps entries when it becomes sparse.

A criterion of your own is a class with one method, :meth:`Criterion.mask`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sparse_engine.deploy.activations import input_norms
from sparse_engine.nn._initial import density_nnz
from sparse_engine.nn.from_torch import magnitude_mask


@dataclass(frozen=True)
class DenseWeight:
    """Weight that a criterion looks at.

    Attributes:
        name: name of the weight in the model, such as ``"encoder.weight_hh_l0"``.
        values: ``[out_features, in_features]``.
        gates: number of blocks of rows, one for each gate: 4 in an LSTM, 3 in a GRU, otherwise 1.
    """

    name: str
    values: Tensor
    gates: int = 1


class Criterion:
    """Decision which entries of a dense weight become links."""

    def calibrate(self, model: nn.Module) -> None:
        """Look at the dense model before its first weight is converted; by default nothing."""

    def mask(self, weight: DenseWeight, density: float) -> Tensor:
        """Return a bool mask ``[out_features, in_features]`` of the entries to keep.

        Args:
            weight: the weight.
            density: fraction of the entries to keep, in (0, 1].
        """
        raise NotImplementedError


class LargestMagnitude(Criterion):
    """Keep the largest entries of each weight by magnitude (Han et al. 2015)."""

    def mask(self, weight: DenseWeight, density: float) -> Tensor:
        """Return a mask of exactly ``density`` times as many entries."""
        return magnitude_mask(weight.values, density)


class GateMagnitude(Criterion):
    """Keep the largest entries of each gate by magnitude, the same fraction in every gate.

    Gates differ in scale: one threshold for all of them can leave a gate nearly without links.
    """

    def mask(self, weight: DenseWeight, density: float) -> Tensor:
        """Return a mask of exactly ``density`` times as many entries of each gate."""
        blocks = weight.values.chunk(weight.gates)
        return torch.cat([magnitude_mask(block, density) for block in blocks])


class ActivationAware(Criterion):
    """Keep in each row the largest ``|w| * norm of the input`` (Wanda; Sun et al. 2024).

    Entries are compared within their output row only, and all rows keep nearly the same number.
    The norm of an input feature is taken over all samples and steps of the calibration batches. For
    a recurrent weight it is the norm of the states that the dense network computes.

    Args:
        batches: inputs of the model; a tuple holds several arguments. A few hundred samples from
            the training data are enough.

    Example:
        >>> criterion = ActivationAware(x for x, _ in itertools.islice(loader, 8))
        >>> sparse, report = convert_model(model, density=0.2, criterion=criterion)
    """

    def __init__(self, batches: Iterable[Any]) -> None:
        self.batches = batches
        self.norms: dict[str, Tensor] = {}

    def calibrate(self, model: nn.Module) -> None:
        """Run the batches through the dense model, and sum the squares of every layer's inputs.

        Raises:
            ValueError: there is no batch.
        """
        self.norms = input_norms(model, self.batches)

    def mask(self, weight: DenseWeight, density: float) -> Tensor:
        """Return a mask of exactly ``density`` times as many entries.

        Rows keep the same number of entries; those that are left over go to the rows whose next
        entry has the largest score.

        Raises:
            ValueError: the calibration batches have not reached the weight, or its inputs are not
                finite.
        """
        if weight.name not in self.norms:
            raise ValueError(
                f"expected calibration batches that reach {weight.name}, found none that does"
            )
        norms = self.norms[weight.name].to(weight.values)
        wrong = (~norms.isfinite()).nonzero()
        if wrong.numel():
            raise ValueError(
                f"expected calibration batches with finite inputs of {weight.name}, found a norm "
                f"of {float(norms[wrong[0, 0]])} at input {int(wrong[0, 0])}"
            )
        return rowwise_mask(weight.values.abs() * norms, density)


def rowwise_mask(scores: Tensor, density: float) -> Tensor:
    """Return a mask of the largest scores of each row, ``density`` times as many in all."""
    rows, columns = scores.shape
    in_each, left = divmod(density_nnz(rows, columns, density), max(1, rows))
    order = scores.argsort(dim=1, descending=True, stable=True)
    mask = torch.zeros_like(scores, dtype=torch.bool)
    mask.scatter_(1, order[:, :in_each], True)
    if left:
        following = order[:, in_each]
        best = scores.gather(1, following[:, None])[:, 0].topk(left).indices
        mask[best, following[best]] = True
    return mask
