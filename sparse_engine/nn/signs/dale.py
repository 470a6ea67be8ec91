"""Dale's law: all links out of a neuron have one sign."""

from __future__ import annotations

import torch
from torch import Tensor

from sparse_engine.nn.grouped import GroupedWeight
from sparse_engine.nn.signs.base import Signs
from sparse_engine.nn.weight import SparseWeight


class DaleSigns(Signs):
    """Dale's law: links out of excitatory units stay positive, all others negative, or 0.

    The sign of the link ``W[i, j]`` is that of its source j, for new links too (projected gradient
    under Dale's law: Song, Yang & Wang, PLoS Comput. Biol. 2016).

    :class:`Signs` says how to attach the constraint to an optimizer and a rewiring. A rewiring
    whose new links start at 0 does not need it among its observers.

    Args:
        weight: the weight to constrain; values of the wrong sign are flipped at once.
        excitatory: bool ``[in_features]``, true for excitatory source units.

    Raises:
        ValueError: ``excitatory`` of another dtype or shape, or a weight whose values are not a
            Parameter.
    """

    def __init__(self, weight: SparseWeight, excitatory: Tensor) -> None:
        if isinstance(weight, GroupedWeight):
            raise ValueError(
                f"expected a weight whose values are a Parameter, found {weight}: give its base "
                "the signs, and keep its gains positive with FixedSigns"
            )
        in_features = weight.shape[1]
        if excitatory.dtype != torch.bool or excitatory.shape != (in_features,):
            raise ValueError(
                f"expected excitatory of dtype torch.bool and shape [{in_features}], found "
                f"{excitatory.dtype} of shape {[*excitatory.shape]}"
            )
        super().__init__(weight, weight.values)
        self.excitatory = excitatory.to(weight.values.device)
        self._mirror()

    def signs(self) -> Tensor:
        """Return the sign of each link, int8 ``[nnz]``: 1 or -1."""
        of_column = torch.where(self.excitatory, 1, -1).to(torch.int8)
        return of_column.index_select(0, self.weight.col_indices)
