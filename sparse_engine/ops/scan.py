"""Large entries of a dense matrix where a sparse one has no link."""

from __future__ import annotations

import torch
from torch import Tensor

from sparse_engine.ops._dispatch.fake import fake
from sparse_engine.ops._dispatch.native import checked, native
from sparse_engine.ops._operation import with_reference
from sparse_engine.ops.pattern import Links


def _scan_absent_ref(
    block: Tensor, links: Links, *, first_row: int = 0, above: float = -1.0
) -> tuple[Tensor, Tensor]:
    large = ~(block.abs() <= above).flatten()
    own = links.positions() - first_row * links.in_features
    large[own[(own >= 0) & (own < large.numel())]] = False
    positions = large.nonzero().squeeze(1)
    return block.abs().flatten()[positions], positions + first_row * links.in_features


@with_reference(_scan_absent_ref)
def scan_absent(
    block: Tensor, links: Links, *, first_row: int = 0, above: float = -1.0
) -> tuple[Tensor, Tensor]:
    """Return the large entries of some rows of a dense matrix, at positions without a link.

    Equals ``positions = ((block.abs() > above) & absent).flatten().nonzero()`` with their
    magnitudes; NaN counts as greater than every number.

    Args:
        block: float32 or float64 ``[rows, in_features]``, contiguous.
        links: links of an ``out_features x in_features`` matrix.
        first_row: the row of that matrix which is the block's first.
        above: magnitudes that are not greater are left out; all positions for a negative number.

    Returns:
        Magnitudes and int64 positions (``row * in_features + column``, increasing), both
        ``[found]``.

    Raises:
        ValueError: a shape or dtype does not fit.
    """
    return checked(native.scan_absent, block, *links, first_row, above)


@fake("scan_absent")
def _(block, crow, col, in_features, first_row, above):
    found = torch.library.get_ctx().new_dynamic_size()
    return block.new_empty(found), crow.new_empty(found)
