"""Annealing of a directed graph: NumPy arrays in and out, see csrc/graph/anneal.h."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from libcpp cimport bool as cbool
from libcpp.memory cimport unique_ptr
from libcpp.vector cimport vector

import numpy as np

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
    cdef const int64_t[:, :, ::1] table
    cdef Goal goal

    def __init__(
        self,
        const int64_t[::1] ptr,
        const int32_t[::1] target,
        const uint8_t[::1] states,
        const int64_t[:, :, ::1] table,
        const int64_t[:, ::1] sums,
        *,
        double balance,
        double scale,
        bint self_loops,
        uint64_t seed,
    ):
        cdef OutLinks links
        links.nodes, links.ptr = len(ptr) - 1, &ptr[0]
        links.target = &target[0] if len(target) else NULL
        self.table = table
        self.graph.reset(
            new SwapGraph(
                links,
                &states[0] if len(states) else NULL,
                &table[0, 0, 0],
                &sums[0, 0],
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
        return np.array(self.graph.get().sums(), np.int64).reshape(-1, 2)

    def targets(self):
        """Return the target of each link now, int32 ``[links]``."""
        return np.array(self.graph.get().targets(), np.int32)
