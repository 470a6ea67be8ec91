"""Pictures as PNG files, and the style of all axes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

RED, BLUE, GREY, DARK, PALE = "#d1495b", "#2f6690", "#9aa5b1", "#5c6670", "#e6e8eb"
#: Place of a legend above the axes.
ABOVE: dict[str, Any] = {
    "fontsize": 8,
    "loc": "lower center",
    "bbox_to_anchor": (0.5, 1),
    "ncols": 3,
}


def style(axes: Axes, x: str, y: str, *, grid: bool = True, legend: Any = None) -> Axes:
    """Label the axes, draw the grid behind, and show a legend with these options, unless None."""
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    if grid:
        axes.grid(True, color=PALE)
        axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    if legend is not None:
        axes.legend(**{"frameon": False} | legend)
    return axes


@contextmanager
def picture(path: str | Path, *, size: tuple[float, float] = (7.0, 4.0)) -> Iterator[Axes]:
    """Yield Axes to draw on, and write the picture as a PNG file at the end of the block.

    This needs no display and does not change the global state of pyplot. The size is width and
    height in inches of 120 dots.
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
