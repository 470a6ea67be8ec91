"""Triads of a directed graph: NumPy arrays in and out, see csrc/graph."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libcpp cimport bool
from libcpp.memory cimport unique_ptr
from libcpp.vector cimport vector

import numpy as np

cdef extern from "null_triads.h" namespace "sparse_engine" nogil:
    struct Digraph:
        int64_t nodes
        const int64_t* ptr
        const int32_t* idx

    struct Arc:
        int32_t source
        int32_t target
        int32_t origin

    struct Moves:
        int64_t edges
        int64_t changes

    cppclass NullKind:
        pass

    cppclass SignShuffle(NullKind):
        pass

    cppclass ErdosRenyi(NullKind):
        pass

    cppclass DegreePreserving(NullKind):
        DegreePreserving(bool, bool, int)

    int kTriadCodes
    void count_triads(const Digraph&, const uint8_t*, int64_t*, int) except +
    void sum_over_triads(const Digraph&, const uint8_t*, const int64_t*, int64_t*, int) except +
    vector[Arc] draw_arcs(
        const Digraph&, const uint8_t*, const NullKind&, uint64_t, uint32_t, Moves&
    ) except +
    Moves count_null_triads(
        const Digraph&, const uint8_t*, const NullKind&, uint64_t, uint32_t, int64_t,
        const int64_t*, int64_t, int64_t*, int
    ) except +

CODES = kTriadCodes


cdef class Kind:
    """How random graphs are made of a given one."""

    cdef unique_ptr[NullKind] native

    @staticmethod
    def sign_shuffle():
        """Links that stay, with permuted states."""
        cdef Kind self = Kind()
        self.native.reset(new SignShuffle())
        return self

    @staticmethod
    def erdos_renyi():
        """As many links anywhere."""
        cdef Kind self = Kind()
        self.native.reset(new ErdosRenyi())
        return self

    @staticmethod
    def degree_preserving(bool keep_mutual, bool keep_signs, int proposals):
        """Double edge swaps, so many proposals for each link."""
        cdef Kind self = Kind()
        self.native.reset(new DegreePreserving(keep_mutual, keep_signs, proposals))
        return self


cdef class Graph:
    """The pattern ``W`` of a directed graph, with a state in 1, 2, 3 of each link.

    Args:
        ptr: int64 ``[nodes + 1]``, valid CSR, as everything here.
        idx: int32 ``[links]``.
        states: uint8 ``[links]``.
    """

    cdef const int64_t[::1] ptr
    cdef const int32_t[::1] idx
    cdef const uint8_t[::1] states
    cdef Digraph pattern

    def __init__(
        self, const int64_t[::1] ptr, const int32_t[::1] idx, const uint8_t[::1] states
    ):
        self.ptr, self.idx, self.states = ptr, idx, states
        self.pattern.nodes = len(ptr) - 1
        self.pattern.ptr = &ptr[0]
        self.pattern.idx = &idx[0] if len(idx) else NULL

    cdef const uint8_t* state(self) noexcept:
        return &self.states[0] if len(self.states) else NULL

    def count(self, int threads):
        """How many triads have each code, those without links excepted, int64 ``[CODES]``."""
        histogram = np.empty(CODES, np.int64)
        cdef int64_t[::1] out = histogram
        cdef const uint8_t* states = self.state()
        with nogil:
            count_triads(self.pattern, states, &out[0], threads)
        return histogram

    def sums(self, const int64_t[:, :, ::1] table, int threads):
        """int64 ``[links, 2]``, sums of ``table`` ``[CODES, 6, 2]`` over each link's triads."""
        sums = np.empty((len(self.idx), 2), np.int64)
        if not len(self.idx):
            return sums
        cdef int64_t[:, ::1] out = sums
        cdef const uint8_t* states = self.state()
        with nogil:
            sum_over_triads(self.pattern, states, &table[0, 0, 0], &out[0, 0], threads)
        return sums

    def draw(self, Kind kind, uint64_t seed, uint32_t sample):
        """A random graph: sources, targets and positions here of its links, int32 ``[3, links]``.

        A function of the arguments alone.
        """
        cdef const uint8_t* states = self.state()
        cdef vector[Arc] drawn
        cdef Moves moves
        with nogil:
            drawn = draw_arcs(self.pattern, states, kind.native.get()[0], seed, sample, moves)
        links = np.empty((3, len(self.idx)), np.int32)
        cdef int32_t[:, ::1] out = links
        cdef int64_t k
        for k in range(out.shape[1]):
            out[0, k], out[1, k], out[2, k] = drawn[k].source, drawn[k].target, drawn[k].origin
        return links

    def count_drawn(
        self, Kind kind, uint64_t seed, samples, const int64_t[::1] type, int64_t types, int threads
    ):
        """:meth:`count` of random graphs ``samples``, a range, summed to int64 ``[., types]``.

        With the number of links or mutual pairs that could move, and of the moves that were made.

        Args:
            kind: how they are made.
            seed: of their random numbers.
            samples: their numbers, below 2^32.
            type: int64 ``[CODES]``, of each code, less than ``types``.
            types: how many there are.
            threads: how many at most; the result does not depend on it.
        """
        cdef uint32_t first = samples.start
        cdef int64_t size = len(samples)
        counts = np.empty((size, types), np.int64)
        cdef Moves moves
        if not size:
            return counts, moves.edges, moves.changes
        cdef int64_t[:, ::1] out = counts
        cdef const uint8_t* states = self.state()
        with nogil:
            moves = count_null_triads(
                self.pattern, states, kind.native.get()[0], seed, first, size, &type[0], types,
                &out[0, 0], threads,
            )
        return counts, moves.edges, moves.changes
