"""How the share of links that a method replaces falls along training."""

from __future__ import annotations

from sparse_engine.topology.schedule import Cosine


def cosine(fraction: float, steps: int, *, end: float = 0.0) -> Cosine:
    """From ``fraction`` at the start along half a cosine to ``end`` after ``steps``.

    Raises:
        ValueError: fraction outside [0, 1], or not one step.
    """
    if not 0 <= fraction <= 1:
        raise ValueError(f"expected fraction in [0, 1], found {fraction}")
    return Cosine(fraction, steps, end)
