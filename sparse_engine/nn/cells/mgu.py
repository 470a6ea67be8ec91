"""The minimal gated unit with sparse recurrent weights."""

from __future__ import annotations

from typing import Any, ClassVar

from sparse_engine import ops
from sparse_engine.nn._step import step_of_cell
from sparse_engine.nn.cells.gru import ResetGatedCell
from sparse_engine.nn.recurrent import Recurrent
from sparse_engine.ops._dispatch.native import native


class MGU(ResetGatedCell):
    """Minimal gated unit (Zhou et al. 2016): a GRU with one gate."""

    gates: ClassVar[int] = 2
    operation: ClassVar[Any] = ops.mgu
    step_kernel: ClassVar[Any] = native.mgu_step.default


class SparseMGU(Recurrent):
    """Minimal gated units (Zhou et al. 2016) whose recurrent weights exist only as links.

    This is a GRU with a single gate. With ``x_f, x_n`` the two blocks of ``x_t W_ih^T + b_ih`` and
    ``u_f, u_n`` those of ``h_{t-1} W_hh^T + b_hh``: ``f = sigmoid(x_f + u_f)`` and
    ``h_t = (1 - f) h_{t-1} + f tanh(x_n + f u_n)``. The gate multiplies the recurrent product with
    its bias, as in ``torch.nn.GRU``; in the paper it multiplies the state. Arguments are those of
    :class:`Recurrent`.

    Example:
        >>> mgu = SparseMGU(64, 1024, density=0.05)
        >>> y, h_n = mgu(torch.randn(50, 32, 64))
        >>> y.shape, h_n.shape
        (torch.Size([50, 32, 1024]), torch.Size([1, 32, 1024]))
    """

    cell_type = MGU
    step_kernel = step_of_cell
