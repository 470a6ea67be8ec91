"""Tied links: one trained gain for each group."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from sparse_engine.nn._checks import check_saved
from sparse_engine.nn._computed import check_plain
from sparse_engine.nn.weight import SparseWeight
from sparse_engine.ops import Pattern
from sparse_engine.ops.pattern import integers


class GroupedWeight(SparseWeight):
    """A sparse weight of which only one gain for each group of links is trained.

    ``values = gain[group] * base``. With a connectome's signed numbers of synapses as the base and
    the pairs of cell types as groups, this is the weight of flyvis (Lappalainen et al., Nature
    2024). It stands wherever a :class:`SparseWeight` does, and optimizers see ``gain`` alone.
    ``SparseWeight(weight.values, weight.pattern)`` unties the links again, to train each.

    A gain's gradient is the sum over its group of ``base`` times the gradient of the values, which
    is added up link after link, in double precision, by torch's ``index_add_``. In eager mode on
    the CPU it has the same bits for any number of threads; elsewhere ask
    ``torch.use_deterministic_algorithms(True)`` for that.

    The pattern is frozen, for a new link would have neither a group nor a base. A state dict has
    the pattern, the groups and the base beside the gains, and loads into any weight of the same
    shape and number of groups.

    Attributes:
        gain: Parameter ``[groups]``.
        base: buffer ``[nnz]``, of the dtype of ``gain``.
        group: int32 buffer ``[nnz]``, the gain of each link.

    Args:
        base: floating-point ``[nnz]``, in row-major order of the links.
        pattern: the links.
        group: the group of each link, of any integer dtype, in [0, groups); by default all links
            are one group, also for the constructors inherited from :class:`SparseWeight`.
        gain: the first gains ``[groups]``; by default ones, for as many groups as ``group`` names.

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
        if group is None:
            group = torch.zeros(pattern.nnz, dtype=torch.int32)
        if gain is None:
            last = int(group.max()) if group.numel() else 0
            gain = torch.ones(max(0, last) + 1)
        if not gain.is_floating_point() or gain.dim() != 1:
            raise ValueError(
                f"expected floating-point gain of shape [groups], found {gain.dtype} of shape "
                f"{[*gain.shape]}"
            )
        group = _checked(group, pattern.nnz, gain.numel())
        self.gain = nn.Parameter(gain.detach().to(self.base, copy=True))
        self.register_buffer("group", group.to(self.base.device))

    @property
    def values(self) -> Tensor:
        """``gain[group] * base``, ``[nnz]``; differentiable in ``gain``, and not a leaf."""
        gains = self.gain.double().index_select(0, self.group)
        return gains.to(self.base.dtype) * self.base

    @property
    def dtype(self) -> torch.dtype:
        """Of the values."""
        return self.base.dtype

    @property
    def frozen_pattern(self) -> bool:
        """True: links without a group cannot grow. It can be set to nothing else."""
        return True

    @frozen_pattern.setter
    def frozen_pattern(self, frozen: bool) -> None:
        if not frozen:
            raise AttributeError(f"expected a pattern that stays frozen: links need groups, {self}")

    def check_rewirable(self) -> None:
        """Raises ValueError: values alone do not say what is the gain and what the base."""
        raise ValueError(f"expected a weight whose values are a Parameter, found {self}")

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Makes all gains 1; the base and the groups stay.

        Raises:
            ValueError: a parametrization or a hook computes the gains.
        """
        check_plain(self, ("gain",))
        self.gain.fill_(1)

    def _hold(self, values: Tensor) -> None:
        self.register_buffer("base", values)

    @torch.no_grad()
    def _restore(self, saved: Mapping[str, Tensor]) -> None:
        pattern, base = self._saved_pattern(saved), saved["base"]
        if base.shape != (pattern.nnz,):
            raise ValueError(f"expected base of shape [{pattern.nnz}], found {[*base.shape]}")
        check_saved("base", base, self.base)
        fixed = "base", "group", "crow_indices", "col_indices"
        trained = {name: saved[name] for name in saved if name not in fixed}
        self._check_saved(trained)
        group = _checked(saved["group"], pattern.nnz, self.gain.numel())
        self._hold_pattern(pattern)
        for name, each in trained.items():
            getattr(self, name).copy_(each)
        self.base, self.group = base.to(self.base, copy=True), group.to(self.group, copy=True)

    def extra_repr(self) -> str:
        """What ``print(weight)`` shows."""
        return f"{super().extra_repr()}, groups={self.gain.numel()}"


def _checked(group: Tensor, nnz: int, groups: int) -> Tensor:
    """The groups of ``nnz`` links as int32, if there are such groups."""
    if group.shape != (nnz,):
        raise ValueError(f"expected group of shape [{nnz}], found {[*group.shape]}")
    group = integers(group, "group", torch.int32)
    wrong = ((group < 0) | (group >= groups)).nonzero()
    if wrong.numel():
        at = int(wrong[0])
        raise ValueError(
            f"expected group in [0, {groups}), found {int(group[at])} at position {at}"
        )
    return group
