// Kernels on the pattern of a sparse matrix: checking, transposing, sampling, rewiring.
#pragma once

#include <string>

#include "sparse_engine/matrix.h"

namespace sparse_engine {

// What is wrong with the pattern of `nnz` links, naming the first offending entry; empty when it
// is a valid Csr. Reads ptr[0..rows] and idx[0..nnz) only.
std::string what_is_wrong(const Csr& w, int64_t nnz);

// Copies the row pointers of `nnz` links, and says what is wrong with the copy, of this name; or
// nothing where they run from 0 to nnz and never decrease.
//   from [rows + 1]: may be written to at any time. ptr [rows + 1]: written.
std::string copy_pointers(const int64_t* from, int64_t rows, int64_t nnz, const char* name,
                          int64_t* ptr);

// The position of the first of n indices that is outside [0, size), or -1. size < 2^31.
int64_t first_outside(const int32_t* idx, int64_t n, int64_t size, int threads);

// Whether the columns of every row increase strictly in [0, cols). The row pointers were checked.
bool is_valid(const Csr& w, int threads);

// Whether wt is the transpose of w. Both are valid.
bool is_transpose(const Csr& w, const Csr& wt, int threads);

// The position of the first of n bytes that is neither 0 nor 1, or -1.
int64_t first_not_bool(const bool* marks, int64_t n, int threads);

// The pattern of W^T. Link p of the result is link permutation[p] of w.
//   ptr [cols + 1], idx [nnz], permutation [nnz]: written; overlap nothing. nnz < 2^31.
void transpose(const Csr& w, int64_t* ptr, int32_t* idx, int32_t* permutation, int threads);

// Names one independent stream of random numbers; equal keys give equal numbers everywhere.
struct RandomKey {
  uint64_t seed;
  uint32_t step;
  uint32_t stream;
};

// Draws `count` distinct cells uniformly among the cells that hold no link, or one that is dropped.
//   dropped [nnz], or null for none.
//   cells [count]: written, row * cols + col, increasing. count <= the number of such cells.
void sample_absent(const Csr& w, const bool* dropped, int64_t count, const RandomKey& key,
                   int64_t* cells, int threads);

// How many of n marks are true.
int64_t count_true(const bool* marks, int64_t n, int threads);

// The position of the first of n cells that is outside [0, size) or not greater than the one before
// it, or -1.
int64_t first_unordered(const int64_t* cells, int64_t n, int64_t size, int threads);

// The pattern that keeps the links with keep[p] and adds `born` cells.
struct Rewiring {
  Csr w;
  const bool* keep;      // [nnz]
  const int64_t* cells;  // [born], increasing; none of them a kept link
  int64_t born;
  int64_t* ptr;        // [rows + 1], written
  int32_t* idx;        // [kept + born], written
  int32_t* slot_map;   // [nnz], written: new position of each old link, -1 where it was dropped
  int32_t* born_slot;  // [born], written: position of each cell
};

// Returns a cell that is already a link (then the output is unusable), or -1.
int64_t rewire(const Rewiring& args, int threads);

// to[slot_map[p]] = from[p] for every kept link p, zeros everywhere else. Entries are `width` = 1,
// 2, 4 or 8 bytes; slot_map is increasing where it is not -1.
//   from [nnz], slot_map [nnz], to [size]: written, overlaps nothing.
// Returns a slot outside [-1, size), for which nothing is written, or -1.
int64_t carry(const void* from, const int32_t* slot_map, int64_t nnz, int width, int64_t size,
              void* to, int threads);

// to[0..bytes) = from[0..bytes); the two do not overlap.
void copy_bytes(const void* from, int64_t bytes, void* to, int threads);

}  // namespace sparse_engine
