"""Annealing of a directed graph: NumPy arrays in and out, see csrc/graph/anneal.h."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from libcpp cimport bool as cbool
from libcpp.memory cimport unique_ptr
from libcpp.vector cimport vector

import numpy as np

from sparse_engine.analysis._arrays cimport copied, pointer

cdef extern from "anneal.h" namespace "sparse_engine" nogil:
    struct OutLinks:
        int64_t nodes
        const int64_t* ptr
        const int32_t* target

    cppclass SwapGraph:
        SwapGraph(
            const OutLinks&, const uint8_t*, const int64_t*, const int64_t*, int
        ) except +
        int64_t links()
        const vector[int32_t]& targets()
        const vector[int64_t]& sums()

    struct Goal:
        double target
        double scale
        cbool self_loops
        uint64_t seed

    int64_t anneal(SwapGraph&, const Goal&, double, int64_t, int64_t)


cdef class Annealer:
    """Graph whose links are swapped until its balance is near a target.

    Args:
        ptr: int64 ``[nodes + 1]``, where the links of each source begin.
        target: int32 ``[links]``.
        states: uint8 ``[links]`` in 1, 2, 3.
        table: int64 ``[CODES, groups, 2]``, balanced and all semicycles of each group by triad code.
        sums: int64 ``[groups, 2]``, sums of the table over the triads of this graph.
    """

    cdef unique_ptr[SwapGraph] graph
    cdef object table
    cdef Goal goal

    def __init__(
        self,
        ptr,
        target,
        states,
        table,
        sums,
        *,
        double balance,
        double scale,
        bint self_loops,
        uint64_t seed,
    ):
        cdef OutLinks links
        links.nodes, links.ptr = len(ptr) - 1, <const int64_t*>pointer(ptr, np.int64, 1)
        links.target = <const int32_t*>pointer(target, np.int32, 1)
        self.table = table  # the graph reads it as long as it lives
        self.graph.reset(
            new SwapGraph(
                links,
                <const uint8_t*>pointer(states, np.uint8, 1),
                <const int64_t*>pointer(table, np.int64, 3),
                <const int64_t*>pointer(sums, np.int64, 2),
                2 * table.shape[1],
            )
        )
        self.goal.target, self.goal.scale = balance, scale
        self.goal.self_loops, self.goal.seed = self_loops, seed

    def run(self, double temperature, int64_t first, int64_t proposals):
        """Make proposals, from number ``first`` on, and return how many were accepted."""
        cdef int64_t kept
        with nogil:
            kept = anneal(self.graph.get()[0], self.goal, temperature, first, proposals)
        return kept

    def sums(self):
        """Return the sums of the table over all triads now, int64 ``[groups, 2]``."""
        cdef const vector[int64_t]* sums = &self.graph.get().sums()
        return copied(sums.data(), sums.size(), np.int64).reshape(-1, 2)

    def targets(self):
        """Return the target of each link now, int32 ``[links]``."""
        cdef const vector[int32_t]* targets = &self.graph.get().targets()
        return copied(targets.data(), targets.size(), np.int32)
