"""Tied links: one trained gain for each group of links."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from typing_extensions import override

from sparse_engine.nn._weight_state import check_plain
from sparse_engine.nn.options import check_entries
from sparse_engine.nn.weight import SparseWeight
from sparse_engine.ops import Pattern
from sparse_engine.ops.pattern import integers


class GroupedWeight(SparseWeight):
    """Sparse weight that trains one gain for each group of links: ``values = gain[group] * base``.

    With a connectome's signed numbers of synapses as the base and the pairs of cell types as
    groups, this is the weight of flyvis (Lappalainen et al., Nature 2024). It can replace a
    :class:`SparseWeight` anywhere; an optimizer sees only ``gain``.
    ``SparseWeight(weight.values, weight.pattern)`` unties the links again, to train each.

    The gradient of a gain is the sum of ``base`` times the gradient of the values over the gain's
    group, in double precision. In eager mode on the CPU it has the same bits for any number of
    threads; elsewhere it has them after ``torch.use_deterministic_algorithms(True)``.

    The pattern stays frozen, because a new link would have neither a group nor a base. A state dict
    loads into any weight of the same shape and number of groups.

    Args:
        base: floating-point ``[nnz]``, in row-major order of the links; a buffer.
        pattern: the links.
        group: the group of each link, in [0, groups), of any integer dtype; an int32 buffer. By
            default all links are one group, also in the constructors of :class:`SparseWeight`.
        gain: the initial gains ``[groups]``, a Parameter; by default ones, up to the largest group.

    Raises:
        ValueError: a shape or dtype does not fit, or a group is out of range.

    Example:
        >>> rnn = SparseRNN(2, 5, density=0.8)
        >>> wiring, cell_type = rnn.weight_hh_l0, torch.tensor([0, 0, 0, 1, 1])
        >>> group = 2 * cell_type[wiring.rows()] + cell_type[wiring.col_indices]
        >>> rnn.weight_hh_l0 = GroupedWeight(wiring.values, wiring.pattern, group)
        >>> rnn.weight_hh_l0
        GroupedWeight(5 x 5, nnz=20, density=0.8, frozen pattern, groups=4)
    """

    gain: nn.Parameter
    base: Tensor
    group: Tensor
    frozen_pattern = True

    _saved = ("gain", "base", "group", "crow_indices", "col_indices")

    def __init__(
        self,
        base: Tensor,
        pattern: Pattern,
        group: Tensor | None = None,
        *,
        gain: Tensor | None = None,
    ) -> None:
        super().__init__(base, pattern)
        if gain is None:
            last = int(group.max()) if group is not None and group.numel() else 0
            gain = base.new_ones(max(0, last) + 1)
        if not gain.is_floating_point() or gain.dim() != 1:
            raise ValueError(
                f"expected floating-point gain of shape [groups], found {gain.dtype} of shape "
                f"{[*gain.shape]}"
            )
        if group is None:
            group = torch.zeros_like(pattern.col)
        else:
            group = _checked(group, pattern.nnz, gain.numel())
        self.gain = nn.Parameter(gain.detach().to(self.base, copy=True))
        self.register_buffer("group", group.to(self.base.device))

    @property
    def values(self) -> Tensor:
        """The values ``gain[group] * base``, ``[nnz]``: differentiable in ``gain``, and no leaf."""
        gains = self.gain.double().index_select(0, self.group)
        return gains.to(self.base.dtype) * self.base

    @override
    def check_rewirable(self) -> None:
        """Raise ValueError: new values do not say what is the gain and what the base."""
        raise ValueError(f"expected a weight whose values are a Parameter, found {self}")

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Set all gains to 1, or raise ValueError for gains that are computed."""
        check_plain(self, ("gain",))
        self.gain.fill_(1)

    def _hold(self, values: Tensor) -> None:
        self.register_buffer("base", values)

    def _of_links(self) -> tuple[str, ...]:
        return "base", "group"

    def _saved_entries(self, saved: Mapping[str, Tensor], nnz: int) -> dict[str, Tensor]:
        entries = super()._saved_entries(saved, nnz)
        return entries | {"group": _checked(entries["group"], nnz, self.gain.numel())}

    def extra_repr(self) -> str:
        """Return what ``print(weight)`` shows."""
        return f"{super().extra_repr()}, groups={self.gain.numel()}"


def _checked(group: Tensor, nnz: int, groups: int) -> Tensor:
    """Return the groups of ``nnz`` links as int32, or raise ValueError."""
    if group.shape != (nnz,):
        raise ValueError(f"expected group of shape [{nnz}], found {[*group.shape]}")
    group = integers(group, "group", torch.int32)
    if group.is_meta:
        return group
    check_entries(f"group in [0, {groups})", group, (group >= 0) & (group < groups))
    return group
