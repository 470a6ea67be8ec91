"""Records of rewirings as curves in TensorBoard."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


class TensorBoard:
    """Writes the numbers of a :class:`Tracker`'s records for TensorBoard.

    A curve is called ``quantity/weight``, such as ``density/recurrent.weight_hh_l0``, and for
    ``gate_density`` ``quantity/weight/gate``.

    Args:
        folder: where the event file goes, as TensorBoard's ``--logdir``.

    Raises:
        ImportError: the package tensorboard is not installed.

    Example:
        >>> tracker = Tracker(rewiring, TensorBoard("runs/demo").write)
    """

    def __init__(self, folder: Path | str) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ImportError(
                "expected the package tensorboard, found none; "
                "install it with: pip install 'sparse_engine[tensorboard]'"
            ) from error
        self._writer = SummaryWriter(str(folder))

    def write(self, record: Mapping[str, object]) -> None:
        """Adds a point to the curve of every number in a record."""
        for quantity, value in record.items():
            tag = f"{quantity}/{record['weight']}".rstrip("/")
            if isinstance(value, list):
                for number, entry in enumerate(value):
                    self._writer.add_scalar(f"{tag}/{number}", entry, record["step"])
            elif isinstance(value, int | float) and quantity != "step":
                self._writer.add_scalar(tag, value, record["step"])

    def close(self) -> None:
        """Ends the event file, on disk."""
        self._writer.close()
