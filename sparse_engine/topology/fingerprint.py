"""A short name of a wiring, the same on every machine."""

from __future__ import annotations

import hashlib

import numpy as np

from sparse_engine.nn import SparseWeight


def topology_hash(weight: SparseWeight) -> str:
    """Names a weight's links: two weights have the same hash if and only if they share them.

    BLAKE2b of 16 bytes over the shape and ``crow_indices`` as little-endian int64, then
    ``col_indices`` as little-endian int32. Values do not enter.

    Returns:
        32 hexadecimal digits.
    """
    digest = hashlib.blake2b(digest_size=16)
    digest.update(np.array(weight.shape, "<i8"))
    digest.update(np.asarray(weight.crow_indices.cpu().numpy(), "<i8"))
    digest.update(np.asarray(weight.col_indices.cpu().numpy(), "<i4"))
    return digest.hexdigest()
