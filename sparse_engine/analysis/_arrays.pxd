"""Pointers to the numbers of NumPy arrays.

Typed memoryviews would need the buffer protocol, which Python's limited API has only from 3.11 on.
"""

from libc.stdint cimport int64_t, uintptr_t
from libc.string cimport memcpy

import numpy as np


cdef inline void* pointer(array, dtype, int dimensions) except? NULL:
    """Return where an array's numbers begin, which is valid while the array lives.

    Raises:
        ValueError: another dtype, another number of dimensions, or numbers that are not contiguous.
    """
    if (
        not isinstance(array, np.ndarray)
        or array.dtype != dtype
        or array.ndim != dimensions
        or not array.flags.c_contiguous
    ):
        raise ValueError(
            f"expected a contiguous array of {dtype.__name__} with {dimensions} dimensions, found "
            f"{getattr(array, 'dtype', type(array).__name__)} {getattr(array, 'shape', '')}"
        )
    return <void*><uintptr_t>array.ctypes.data


cdef inline copied(const void* numbers, int64_t count, dtype):
    """Return an array with a copy of so many numbers."""
    array = np.empty(count, dtype)
    memcpy(pointer(array, dtype, 1), numbers, array.nbytes)
    return array
