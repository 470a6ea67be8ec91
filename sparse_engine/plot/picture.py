"""Writing one picture to a file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


@contextmanager
def picture(path: str | Path, *, size: tuple[float, float] = (7.0, 4.0)) -> Iterator[Axes]:
    """Axes to draw on; the picture is written as PNG when the block ends.

    No display and no global state of pyplot are involved.

    Args:
        path: of the file.
        size: in inches, at 120 dots each.
    """
    with panels(path, 1, 1, size=size) as ((axes,),):
        yield axes


@contextmanager
def panels(
    path: str | Path, rows: int, columns: int, *, size: tuple[float, float]
) -> Iterator[np.ndarray]:
    """:func:`picture` with Axes ``[rows, columns]`` in one file; ``size`` is that of the whole."""
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    yield figure.subplots(rows, columns, squeeze=False)
    figure.savefig(path, dpi=120)
