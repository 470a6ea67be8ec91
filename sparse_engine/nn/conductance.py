"""Synapses that open a conductance, as biological ones do."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sparse_engine import ops
from sparse_engine.nn import _init
from sparse_engine.nn.weight import SparseWeight
from sparse_engine.ops import Pattern, Synapses


class ConductanceWeight(SparseWeight):
    """Links with conductances ``g = W * sigmoid(sigma * (x - mu))`` towards a potential ``erev``.

    Beside its value, the greatest conductance W, each link has three parameters of its own, which
    train with it and which a rewiring moves with it; new links get them as a fresh weight does.
    W should not become negative: clip it after each step of the optimizer, as
    :meth:`SparseLTC.clip_` does. Rules of ``sparse_engine.topology`` see W and its gradient; those
    that grow links by the dense gradient (RigL) are refused, for it is no product of two factors.

    Attributes:
        values: Parameter ``[nnz]``, W.
        mu: Parameter ``[nnz]``, the potential at which half of W is open.
        sigma: Parameter ``[nnz]``, how steeply it opens.
        erev: Parameter ``[nnz]``, the reversal potential: its sign says whether the link excites.

    Args:
        values: floating-point ``[nnz]``, in row-major order of the links.
        pattern: the links.
        mu: ``[nnz]``; U(0.3, 0.8) by default.
        sigma: ``[nnz]``; U(3, 8) by default.
        erev: ``[nnz]``; 1 or -1 at random by default.

    Raises:
        ValueError: a shape or dtype does not fit.
    """

    mu: nn.Parameter
    sigma: nn.Parameter
    erev: nn.Parameter

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
        drawn = self.newborn(pattern.nnz) if None in given.values() else {}
        for name, each in given.items():
            entries = drawn[name] if each is None else each.detach()
            if not entries.is_floating_point() or entries.shape != values.shape:
                raise ValueError(
                    f"expected floating-point {name} of shape [{pattern.nnz}], found "
                    f"{entries.dtype} of shape {[*entries.shape]}"
                )
            setattr(self, name, nn.Parameter(entries.to(self.values, copy=True)))

    @classmethod
    def fresh(
        cls,
        pattern: Pattern,
        *,
        gain: float = 1.0,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
    ) -> dict[str, Tensor]:
        """See :meth:`SparseWeight.fresh`: W is ``gain * U(0.01, 1)``."""
        device = pattern.crow.device
        values = _init.blank(pattern.nnz, dtype=dtype, device=device)
        values.uniform_(0.01, 1, generator=generator).mul_(gain)
        others = cls.newborn(pattern.nnz, generator=generator, dtype=dtype, device=device)
        return {"values": values} | others

    @classmethod
    def newborn(
        cls,
        count: int,
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str = "cpu",
    ) -> dict[str, Tensor]:
        """See :meth:`SparseWeight.newborn`: mu U(0.3, 0.8), sigma U(3, 8), erev 1 or -1."""
        mu, sigma, erev = _init.blank(3, count, dtype=dtype, device=device).unbind()
        return {
            "mu": mu.uniform_(0.3, 0.8, generator=generator),
            "sigma": sigma.uniform_(3, 8, generator=generator),
            "erev": erev.bernoulli_(generator=generator).mul_(2).sub_(1),
        }

    @property
    def synapses(self) -> Synapses:
        """The link parameters, as ``sparse_engine.ops`` takes them."""
        return Synapses(self.values, self.mu, self.sigma, self.erev)

    @property
    def factors(self) -> None:
        """None, for the dense gradient has no factors.

        Raises:
            ValueError: when they are asked for.
        """
        return None

    @factors.setter
    def factors(self, wanted: list | None) -> None:
        if wanted is not None:
            raise ValueError(
                "expected a rule that grows links without the dense gradient, found one that needs "
                f"its factors, which conductances do not have: {self}"
            )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Current and conductance of each target, see :func:`sparse_engine.ops.conductance`."""
        return ops.conductance(x, self.synapses, self.pattern)
