"""Recurrent network whose state follows a neural ODE between its inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from sparse_engine import ops
from sparse_engine.nn.cells.ctrnn import Continuous
from sparse_engine.nn.options import check_duration, option
from sparse_engine.nn.recurrent import Recurrent
from sparse_engine.ops.continuous import RK4, Solver


def _check_solver(name: str, value: object) -> None:
    if not isinstance(value, Solver):
        raise TypeError(f"expected {name} to be a Solver, found {value!r}")


@dataclass(frozen=True, kw_only=True)
class NeuralODE(Continuous):
    """Neural ODE (Chen et al. 2018) that is driven by a sequence."""

    dt: float = option(check_duration, 0.01)
    solver: Solver = option(_check_solver, RK4())  # type: ignore[misc]

    operation: ClassVar[Any] = ops.ctrnn


class SparseNeuralODE(Recurrent):
    """Neural ODE (Chen et al. 2018) driven by a sequence, with weights that exist only as links.

    While input ``x_t`` is held, the state follows ``dh/ds = tanh(x_t W_ih^T + b_ih + h W_hh^T +
    b_hh)``, integrated by ``unfolds`` steps of a fixed-step solver. Gradients are the exact ones of
    these steps and their stages, not those of the adjoint equation. Training keeps one state per
    time step, for any number of unfolds and stages.

    Args:
        solver: :class:`RK4` by default, :class:`Euler`, or a :class:`Solver` of your own.
        unfolds: number of steps of the solver for each input.
        dt: length of each of these steps, unless timespans are given.
        **options: the other arguments of :class:`Recurrent`.

    Raises:
        ValueError: dt that is not positive, or unfolds below 1.

    Example:
        >>> ode = SparseNeuralODE(64, 1024, density=0.05)
        >>> y, h_n = ode(torch.randn(50, 32, 64))
        >>> y.shape, h_n.shape
        (torch.Size([50, 32, 1024]), torch.Size([1, 32, 1024]))
    """

    cell_type = NeuralODE
