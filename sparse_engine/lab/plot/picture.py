"""Pictures as PNG files."""

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
    """Yield Axes to draw on, and write the picture as a PNG file at the end of the block.

    This needs no display and does not change the global state of pyplot.

    Args:
        path: path of the file.
        size: width and height in inches of 120 dots.
    """
    with panels(path, 1, 1, size=size) as ((axes,),):
        yield axes


@contextmanager
def panels(
    path: str | Path, rows: int, columns: int, *, size: tuple[float, float]
) -> Iterator[np.ndarray]:
    """Yield Axes ``[rows, columns]``, and write all panels to one file, like :func:`picture`."""
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    yield figure.subplots(rows, columns, squeeze=False)
    figure.savefig(path, dpi=120)
