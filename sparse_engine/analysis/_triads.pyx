"""Closed triads of a directed graph: NumPy arrays in and out, see csrc/graph/triads.h."""

from libc.stdint cimport int32_t, int64_t, uint8_t
from libcpp.vector cimport vector

import numpy as np

cdef extern from "triads.h" namespace "sparse_engine" nogil:
    struct Digraph:
        int64_t nodes
        const int64_t* ptr
        const int32_t* idx

    cppclass Triangle:
        pass

    int kTriadCodes
    void count_triads(const Digraph&, const uint8_t*, int64_t*, int) except +
    vector[Triangle] list_triads(const Digraph&) except +
    void recount_triads(
        const vector[Triangle]&, const uint8_t*, int64_t, int64_t, int64_t*, int
    ) except +
    void sum_over_triads(const Digraph&, const uint8_t*, const int64_t*, int64_t*, int) except +

CODES = kTriadCodes


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
        """How many closed triads have each code, int64 ``[CODES]``."""
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


cdef class Triangles:
    """The closed triads of a graph, to be counted again with other states."""

    cdef vector[Triangle] found
    cdef int64_t links

    def __init__(self, Graph graph):
        self.links = len(graph.idx)
        with nogil:
            self.found = list_triads(graph.pattern)

    def count(self, const uint8_t[:, ::1] states, int threads):
        """int64 ``[samples, CODES]`` for states ``[samples, links]``."""
        cdef int64_t samples = states.shape[0]
        histograms = np.zeros((samples, CODES), np.int64)
        if not samples or not self.links:
            return histograms
        cdef int64_t[:, ::1] out = histograms
        with nogil:
            recount_triads(self.found, &states[0, 0], self.links, samples, &out[0, 0], threads)
        return histograms
