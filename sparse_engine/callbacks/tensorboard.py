"""Records of rewirings and runs in TensorBoard."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from sparse_engine.extras import extra

with extra("tensorboard"):
    from torch.utils.tensorboard import SummaryWriter


class TensorBoard:
    """Sink that writes the numbers of records for TensorBoard, such as those of a ``Tracker``.

    A curve is called ``quantity/weight``, such as ``density/recurrent.weight_hh_l0``, and for
    ``gate_density`` ``quantity/weight/gate``. Entries of metrics.jsonl may be written, too: a curve
    is then called ``loss``, or ``validation/accuracy`` for a metric of a split.

    Args:
        folder: the folder of the event file, for TensorBoard's ``--logdir``.

    Raises:
        ImportError: the package tensorboard is not installed.

    Example:
        >>> tracker = Tracker(rewiring, TensorBoard("runs/demo").write)
    """

    def __init__(self, folder: Path | str) -> None:
        self._writer = SummaryWriter(str(folder))

    def write(self, record: Mapping[str, object]) -> None:
        """Add a point to the curve of every number in a record."""
        for quantity, value in record.items():
            tag = f"{quantity}/{record.get('weight', '')}".rstrip("/")
            if isinstance(value, list):
                value = dict(enumerate(value))
            points = value if isinstance(value, dict) else {"": value}
            for name, number in points.items():
                if isinstance(number, int | float) and quantity != "step":
                    self._writer.add_scalar(f"{tag}/{name}".rstrip("/"), number, record["step"])

    def close(self) -> None:
        """Write the event file to disk and close it."""
        self._writer.close()
