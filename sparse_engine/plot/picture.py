"""Writing one picture to a file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


@contextmanager
def picture(path: Path, *, size: tuple[float, float] = (7.0, 4.0)) -> Iterator[Axes]:
    """Axes to draw on; the picture is written as PNG when the block ends.

    No display and no global state of pyplot are involved.

    Args:
        path: of the file.
        size: in inches, at 120 dots each.
    """
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    yield figure.add_subplot()
    figure.savefig(path, dpi=120)
