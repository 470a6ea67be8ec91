"""Dale's law: all links out of a neuron have one sign."""

from __future__ import annotations

import torch
from torch import Tensor

from sparse_engine.nn.grouped import GroupedWeight
from sparse_engine.nn.signs.base import Signs
from sparse_engine.nn.weight import SparseWeight


class DaleSigns(Signs):
    """Links out of excitatory units stay positive, those out of the others negative, or 0.

    The sign of the link ``W[i, j]`` is that of its source j, so that links which a rewiring grows
    obey it too (projected gradient under Dale's law: Song, Yang & Wang, PLoS Comput. Biol. 2016).

    See :class:`Signs` for how it is attached to an optimizer and a rewiring. A rewiring whose new
    links start at 0 need not know of it.

    Args:
        weight: the weight to constrain. Wrong values change their sign at once.
        excitatory: bool ``[in_features]``.

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
        """int8 ``[nnz]``: 1 or -1 for each link."""
        of_column = torch.where(self.excitatory, 1, -1).to(torch.int8)
        return of_column.index_select(0, self.weight.col_indices)
