"""Triads of a directed graph: NumPy arrays in and out, see csrc/graph."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy
from libcpp cimport bool
from libcpp.memory cimport unique_ptr
from libcpp.vector cimport vector

import numpy as np

from sparse_engine.analysis._arrays cimport pointer

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
    """Kind of random graphs."""

    cdef unique_ptr[NullKind] native

    @staticmethod
    def sign_shuffle():
        """Return the kind that permutes the states of links."""
        cdef Kind self = Kind()
        self.native.reset(new SignShuffle())
        return self

    @staticmethod
    def erdos_renyi():
        """Return the kind with as many links anywhere."""
        cdef Kind self = Kind()
        self.native.reset(new ErdosRenyi())
        return self

    @staticmethod
    def degree_preserving(bool keep_mutual, bool keep_signs, int proposals):
        """Return the kind made by degree-preserving moves."""
        cdef Kind self = Kind()
        self.native.reset(new DegreePreserving(keep_mutual, keep_signs, proposals))
        return self


cdef class Graph:
    """Directed graph with a state of 1, 2 or 3 for each link.

    Args:
        ptr: int64 ``[nodes + 1]``, row pointers of a valid CSR pattern.
        idx: int32 ``[links]``, column of each link.
        states: uint8 ``[links]``, state of each link.
    """

    cdef object arrays
    cdef Digraph pattern
    cdef const uint8_t* states
    cdef int64_t links

    def __init__(self, ptr, idx, states):
        self.arrays = ptr, idx, states
        self.links = len(idx)
        self.pattern.nodes = len(ptr) - 1
        self.pattern.ptr = <const int64_t*>pointer(ptr, np.int64, 1)
        self.pattern.idx = <const int32_t*>pointer(idx, np.int32, 1)
        self.states = <const uint8_t*>pointer(states, np.uint8, 1)

    def count(self, int threads):
        """Count the triads of each code but 0, int64 ``[CODES]``."""
        histogram = np.empty(CODES, np.int64)
        cdef int64_t* out = <int64_t*>pointer(histogram, np.int64, 1)
        with nogil:
            count_triads(self.pattern, self.states, out, threads)
        return histogram

    def sums(self, table, int threads):
        """Sum ``table``, ``[CODES, 6, 2]``, over the triads of each link, int64 ``[links, 2]``."""
        sums = np.empty((self.links, 2), np.int64)
        cdef int64_t* out = <int64_t*>pointer(sums, np.int64, 2)
        cdef const int64_t* terms = <const int64_t*>pointer(table, np.int64, 3)
        with nogil:
            sum_over_triads(self.pattern, self.states, terms, out, threads)
        return sums

    def draw(self, Kind kind, uint64_t seed, uint32_t sample):
        """Draw a random graph, which follows from the arguments alone.

        Returns:
            int32 ``[3, links]``: source, target and number in this graph of each link.
        """
        cdef vector[Arc] drawn
        cdef Moves moves
        with nogil:
            drawn = draw_arcs(self.pattern, self.states, kind.native.get()[0], seed, sample, moves)
        links = np.empty((self.links, 3), np.int32)
        memcpy(pointer(links, np.int32, 2), drawn.data(), links.nbytes)
        return links.T

    def count_drawn(
        self, Kind kind, uint64_t seed, samples, type, int64_t types, int threads
    ):
        """Count the triads of each type in random graphs.

        Args:
            kind: kind of random graphs.
            seed: seed of the random numbers.
            samples: range of the numbers of the random graphs, below 2^32.
            type: int64 ``[CODES]``, type of each code, less than ``types``.
            types: number of types.
            threads: greatest number of threads; the result does not depend on it.

        Returns:
            int64 ``[samples, types]``, and the numbers of links or mutual pairs that could move and
            of moves.
        """
        cdef uint32_t first = samples.start
        cdef int64_t size = len(samples)
        counts = np.empty((size, types), np.int64)
        cdef Moves moves
        if not size:
            return counts, moves.edges, moves.changes
        cdef int64_t* out = <int64_t*>pointer(counts, np.int64, 2)
        cdef const int64_t* of_code = <const int64_t*>pointer(type, np.int64, 1)
        with nogil:
            moves = count_null_triads(
                self.pattern, self.states, kind.native.get()[0], seed, first, size, of_code, types,
                out, threads,
            )
        return counts, moves.edges, moves.changes
