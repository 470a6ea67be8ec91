"""Sets matched by Jaccard similarity: NumPy arrays in and out, see csrc/graph/matching.h."""

from libc.stdint cimport int32_t, int64_t
from libcpp.memory cimport unique_ptr
from libcpp.vector cimport vector

import numpy as np

cdef extern from "matching.h" namespace "sparse_engine" nogil:
    struct Sets:
        int64_t count
        const int64_t* ptr
        const int32_t* idx

    int64_t kSimilarityOne

    cppclass Matcher:
        Matcher(const Sets&, const Sets&, const Sets&, int) except +
        int64_t match(int64_t) except +
        const vector[int32_t]& partners()

ONE = kSimilarityOne


cdef Sets sets_of(const int64_t[::1] ptr, const int32_t[::1] idx) noexcept:
    cdef Sets sets
    sets.count = len(ptr) - 1
    sets.ptr = &ptr[0]
    sets.idx = &idx[0] if len(idx) else NULL
    return sets


def match(
    const int64_t[::1] a_ptr,
    const int32_t[::1] a_idx,
    const int64_t[::1] b_ptr,
    const int32_t[::1] b_idx,
    const int64_t[::1] holders_ptr,
    const int32_t[::1] holders_idx,
    int64_t bound,
    int threads,
):
    """Return the partner in b of each set of a, int32 with -1 for none, and the gap.

    Args:
        a_ptr: int64 ``[a + 1]``, with ``a_idx`` int32 the sets in CSR, valid as everything here.
        b_ptr: int64 ``[b + 1]``, with ``b_idx`` likewise.
        holders_ptr: int64 ``[members + 1]``, with ``holders_idx`` the transpose of b.
        bound: greatest allowed lack from the largest sum of similarities, in units of 1 / ONE.
        threads: number of threads that compute similarities.
    """
    cdef Sets a = sets_of(a_ptr, a_idx), b = sets_of(b_ptr, b_idx)
    cdef Sets holders = sets_of(holders_ptr, holders_idx)
    partners = np.empty(a.count, np.int32)
    cdef int32_t[::1] out = partners
    cdef unique_ptr[Matcher] matcher
    cdef int64_t gap, i
    with nogil:
        matcher.reset(new Matcher(a, b, holders, threads))
        gap = matcher.get().match(bound)
        for i in range(a.count):
            out[i] = matcher.get().partners()[i]
    return partners, gap
