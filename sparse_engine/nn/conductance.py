"""Sparse synapses with conductances, as biological ones have."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from typing_extensions import override

from sparse_engine import ops
from sparse_engine.nn import _initial
from sparse_engine.nn.weight import SparseWeight
from sparse_engine.ops import Pattern, Synapses


class ConductanceWeight(SparseWeight):
    """Links with conductances ``g = W * sigmoid(sigma * (x - mu))`` towards a potential ``erev``.

    Each link has four trained parameters: its value W, the greatest conductance, and ``mu``,
    ``sigma`` and ``erev``. A rewiring moves them together; new links draw theirs as a new weight
    does. W should not become negative: clip W after each step of the optimizer, as
    :meth:`SparseLTC.clip_` does. Prune and grow rules see W and its gradient. Rules that grow links
    by the dense gradient (RigL) are refused, because the gradient of a conductance is no product of
    two factors.

    Args:
        values: floating-point ``[nnz]``, in row-major order of the links: the greatest conductance.
        pattern: the links.
        mu: ``[nnz]``, the potential at which half of W is open; U(0.3, 0.8) by default.
        sigma: ``[nnz]``, the steepness at ``mu``; U(3, 8) by default.
        erev: ``[nnz]``, the reversal potential; its sign says whether the link excites. 1 or -1 at
            random by default.

    Raises:
        ValueError: a shape or dtype does not fit.

    Example:
        >>> weight = ConductanceWeight.erdos_renyi(64, 64, density=0.1)
    """

    mu: nn.Parameter
    sigma: nn.Parameter
    erev: nn.Parameter

    signed = False
    link_parameters = ("values", "mu", "sigma", "erev")

    _saved = (*link_parameters, "crow_indices", "col_indices")

    def __init__(
        self,
        values: Tensor,
        pattern: Pattern,
        *,
        mu: Tensor | None = None,
        sigma: Tensor | None = None,
        erev: Tensor | None = None,
    ) -> None:
        super().__init__(values, pattern)
        given = {"mu": mu, "sigma": sigma, "erev": erev}
        drawn = self.new_link_entries(pattern.nnz) if None in given.values() else {}
        for name, each in given.items():
            entries = drawn[name] if each is None else each.detach()
            if not entries.is_floating_point() or entries.shape != values.shape:
                raise ValueError(
                    f"expected floating-point {name} of shape [{pattern.nnz}], found "
                    f"{entries.dtype} of shape {[*entries.shape]}"
                )
            setattr(self, name, nn.Parameter(entries.to(self.values, copy=True)))

    @staticmethod
    @override
    def _draw_values_(
        values: Tensor, pattern: Pattern, *, gain: float, generator: torch.Generator | None
    ) -> Tensor:
        return values.uniform_(0.01, 1, generator=generator).mul_(gain)

    @classmethod
    @override
    def new_link_entries(
        cls,
        count: int,
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str = "cpu",
    ) -> dict[str, Tensor]:
        """Return initial entries: mu is U(0.3, 0.8), sigma U(3, 8), and erev 1 or -1."""
        mu, sigma, erev = _initial.blank(3, count, dtype=dtype, device=device).unbind()
        return {
            "mu": mu.uniform_(0.3, 0.8, generator=generator),
            "sigma": sigma.uniform_(3, 8, generator=generator),
            "erev": erev.bernoulli_(generator=generator).mul_(2).sub_(1),
        }

    @property
    def synapses(self) -> Synapses:
        """The link parameters in the form that ``sparse_engine.ops`` takes."""
        return Synapses(self.values, self.mu, self.sigma, self.erev)

    @property
    def captured(self) -> None:
        """None: the dense gradient of a conductance has no factors.

        Raises:
            ValueError: set to anything but None.
        """
        return None

    @captured.setter
    def captured(self, steps: list | None) -> None:
        if steps is not None:
            raise ValueError(
                "expected a rule that grows links without the dense gradient, found one that needs "
                f"its factors, which conductances do not have: {self}"
            )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return current and conductance of each target: :func:`sparse_engine.ops.conductance`."""
        return ops.conductance(x, self.synapses, self.pattern)
