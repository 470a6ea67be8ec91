"""Recurrent network whose state follows a neural ODE between its inputs."""

from __future__ import annotations

from typing import ClassVar

from typing_extensions import Unpack

from sparse_engine.nn._keywords import RecurrentOptions
from sparse_engine.nn.cells.continuous import Continuous
from sparse_engine.nn.options import Option
from sparse_engine.ops import RK4, Solver


def _check_solver(name: str, value: object) -> None:
    if not isinstance(value, Solver):
        raise TypeError(f"expected {name} to be a Solver, found {value!r}")


class SparseNeuralODE(Continuous):
    """Neural ODE (Chen et al. 2018) driven by a sequence, with weights that exist only as links.

    While input ``x_t`` is held, the state follows ``dh/ds = tanh(x_t W_ih^T + b_ih + h W_hh^T +
    b_hh)``, integrated by ``unfolds`` steps of a fixed-step solver. Gradients are the exact ones of
    these steps and their stages, not those of the adjoint equation. The forward pass of a layer
    over all time steps is one native operation, and so is its backward pass. Training keeps one
    state per time step, for any number of unfolds and stages.

    Args:
        input_size: number of features of the input.
        hidden_size: number of units of each layer.
        num_layers: number of layers.
        density: fraction of the recurrent weights that exist, in (0, 1]; also of the weights
            between layers.
        solver: :class:`RK4` by default, :class:`Euler`, or a :class:`Solver` of your own.
        unfolds: number of steps of the solver for each input.
        dt: length of each of these steps, unless timespans are given.
        **options: the other arguments of :class:`SparseRecurrent` by name: bias, batch_first,
            dropout, bidirectional, device, dtype, input_density, gain, generator,
            checkpoint_every.

    Parameters are named as in ``torch.nn.RNN`` with ``.values`` for the sparse ones.

    Raises:
        ValueError: dt that is not positive, or unfolds below 1.

    Example:
        >>> ode = SparseNeuralODE(64, 1024, density=0.05)
        >>> y, h_n = ode(torch.randn(50, 32, 64))
        >>> y.shape, h_n.shape
        (torch.Size([50, 32, 1024]), torch.Size([1, 32, 1024]))
    """

    options: ClassVar[dict[str, Option]] = {**Continuous.options, "solver": Option(_check_solver)}

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        density: float,
        solver: Solver | None = None,
        unfolds: int = 6,
        dt: float = 0.01,
        **options: Unpack[RecurrentOptions],
    ) -> None:
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            density=density,
            solver=RK4() if solver is None else solver,
            unfolds=unfolds,
            dt=dt,
            **options,
        )
