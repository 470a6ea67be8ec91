"""Reader of the IDX format, in which MNIST and its relatives are published."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np

#: Most items that a file may claim to have; the largest published one has 814,255.
MOST_ITEMS = 1_000_000


def read_idx(path: Path, *item: int) -> np.ndarray:
    """Read unsigned bytes from a gzipped IDX file, uint8 ``[items, *item]``.

    Args:
        path: the file.
        *item: the size of an item, such as 28, 28 for images; nothing for labels.

    Raises:
        ValueError: a file that is damaged, cut off, or of other sizes.
    """
    dimensions = 1 + len(item)
    try:
        with gzip.open(path) as file:
            header = file.read(4 * (1 + dimensions))
            if len(header) < 4 * (1 + dimensions):
                raise ValueError(f"expected a header of IDX, found the end of {path}")
            magic, count, *found = struct.unpack(f">{1 + dimensions}I", header)
            # The third byte is the type, 8 for unsigned bytes, and the last the number of sizes.
            if magic != 0x800 + dimensions:
                raise ValueError(
                    f"expected the magic number {0x800 + dimensions:#x} of IDX, found {magic:#x} "
                    f"in {path}"
                )
            if tuple(found) != item or count > MOST_ITEMS:
                raise ValueError(
                    f"expected at most {MOST_ITEMS:,} items of size {list(item)}, found {count:,} "
                    f"of size {found} in {path}"
                )
            size = count * math.prod(item)
            data = file.read(size + 1)
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise ValueError(f"expected a whole gzip file, found {path}: {error}") from error
    if len(data) != size:
        more = "more" if len(data) > size else f"{len(data):,}"
        raise ValueError(f"expected {size:,} bytes after the header, found {more} in {path}")
    return np.frombuffer(data, np.uint8).reshape(count, *item)
