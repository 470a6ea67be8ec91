"""Explicit Runge-Kutta methods, as continuous-time networks take them."""

from __future__ import annotations

from typing import ClassVar


class Solver:
    """Fixed-step method for ``dh/ds = f(h)``, each stage of which needs only the stage before.

    ``k[i] = f(h + nodes[i] * dt * k[i - 1])``, then ``h + dt * sum(weights[i] * k[i])``: the
    classical methods up to order four have this form. A subclass states the two::

        class Midpoint(Solver):
            nodes = (0.0, 0.5)
            weights = (0.0, 1.0)

    Attributes:
        nodes: one number for each stage; the first is 0.
        weights: one weight for each node.
    """

    nodes: ClassVar[tuple[float, ...]]
    weights: ClassVar[tuple[float, ...]]

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class Euler(Solver):
    """The explicit Euler method, of order one: ``h + dt * f(h)``."""

    nodes = (0.0,)
    weights = (1.0,)


class RK4(Solver):
    """The classical Runge-Kutta method, of order four."""

    nodes = (0.0, 1 / 2, 1 / 2, 1.0)
    weights = (1 / 6, 1 / 3, 1 / 3, 1 / 6)
