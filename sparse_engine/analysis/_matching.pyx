"""Sets matched by Jaccard similarity: NumPy arrays in and out, see csrc/graph/matching.h."""

from libc.stdint cimport int32_t, int64_t
from libcpp.memory cimport unique_ptr
from libcpp.vector cimport vector

import numpy as np

from sparse_engine.analysis._arrays cimport copied, pointer

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


cdef Sets sets_of(ptr, idx) except *:
    cdef Sets sets
    sets.count = len(ptr) - 1
    sets.ptr = <const int64_t*>pointer(ptr, np.int64, 1)
    sets.idx = <const int32_t*>pointer(idx, np.int32, 1)
    return sets


def match(
    a_ptr, a_idx, b_ptr, b_idx, holders_ptr, holders_idx, int64_t bound, int threads
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
    cdef unique_ptr[Matcher] matcher
    cdef int64_t gap
    with nogil:
        matcher.reset(new Matcher(a, b, holders, threads))
        gap = matcher.get().match(bound)
    return copied(matcher.get().partners().data(), a.count, np.int32), gap
