// A sparse pattern with its transposed view, as the operations receive it. Tensors may hold
// anything when an operation begins, and other threads may rewire them meanwhile: a kernel gets row
// pointers that are a copy and were checked, and indices that were checked, or that it checks
// itself. Only who writes an index that is out of range during an operation leads it out of its
// arrays.
#pragma once

#include "check.h"
#include "sparse_engine/pattern.h"
#include "sparse_engine/plan.h"

namespace sparse_engine::bindings {

// The check of a matrix's links that is added to the one of its row pointers.
enum class Check {
  kPointers,  // nothing, since the kernel looks at the indices itself
  kIndices,   // all indices are in range
  kSorted,    // those of each row increase, too
};

// That truth values on the CPU are 0 or 1: views of other dtypes may hold other bytes.
inline void check_bytes(const Tensor& t, const char* name) {
  const int64_t at = first_not_bool(data<bool>(t), t.numel(), threads());
  if (at >= 0) fail("expected ", name, " of bytes 0 and 1, found another one at position ", at);
}

// Index tensors of `rows` x `cols`, of the right dtypes and sizes.
struct Given {
  Csr csr;
  const char *of_ptr, *of_idx;
};

inline Given given(const Tensor& crow, const Tensor& col, int64_t cols,
                   const char* of_ptr = "crow_indices", const char* of_idx = "col_indices") {
  constexpr int64_t kMost = (int64_t{1} << 31) - 1;
  if (crow.dim() != 1 || crow.numel() < 1)
    fail("expected ", of_ptr, " of shape [out_features + 1], found ", shape_of(crow));
  check_indices(crow, of_ptr, ScalarType::Long, crow.numel());
  check_indices(col, of_idx, ScalarType::Int, col.numel());
  const int64_t rows = crow.numel() - 1;
  if (cols < 0 || cols > kMost) fail("expected in_features in [0, 2^31), found ", cols);
  if (rows > kMost) fail("expected out_features in [0, 2^31), found ", rows);
  if (col.numel() > kMost) fail("expected fewer than 2^31 links, found ", col.numel());
  return {{data<int64_t>(crow), data<int32_t>(col), rows, cols, col.numel()}, of_ptr, of_idx};
}

// That the row pointers belong to as many links as there are indices.
inline void check_ends(const Given& given) {
  const Csr& w = given.csr;
  if (!OnCuda::here() && (w.ptr[0] != 0 || w.ptr[w.rows] != w.nnz()))
    fail("expected ", given.of_ptr, " to run from 0 to the ", w.nnz(), " links of ", given.of_idx,
         ", found ", w.ptr[0], " to ", w.ptr[w.rows]);
}

// The links of a matrix as a kernel may read them. On a CUDA device they are as they were given:
// the host would have to wait for a look at them.
class Links {
 public:
  Links(const Given& given, Check check)
      : pointers_(OnCuda::here() ? 0 : Scratch::bytes_of<int64_t>(given.csr.rows + 1)),
        csr_(given.csr) {
    if (OnCuda::here()) return;
    int64_t* ptr = pointers_.take<int64_t>(csr_.rows + 1);
    const std::string wrong = copy_pointers(csr_.ptr, csr_.rows, csr_.nnz(), given.of_ptr, ptr);
    csr_.ptr = ptr;
    if (!wrong.empty()) fail(check == Check::kSorted ? what_is_wrong(csr_, csr_.nnz()) : wrong);
    if (check == Check::kIndices) check_range(csr_.idx, csr_.nnz(), given.of_idx, csr_.cols);
    if (check == Check::kSorted && !is_valid(csr_, threads()))
      fail(what_is_wrong(csr_, csr_.nnz()));
  }
  Links(const Links&) = delete;
  Links& operator=(const Links&) = delete;

  const Csr& csr() const { return csr_; }

  static void check_range(const int32_t* idx, int64_t n, const char* name, int64_t size) {
    const int64_t at = first_outside(idx, n, size, threads());
    if (at >= 0)
      fail("expected ", name, " in [0, ", size, "), found ", idx[at], " at position ", at);
  }

 private:
  Scratch pointers_;
  Csr csr_;
};

// The pattern of a weight, which operations take as a list of its six tensors: crow, col, t_crow,
// t_col, permutation and plan, as sparse_engine.ops.Pattern has them. They have to outlive it.
class Pattern {
 public:
  static constexpr size_t kTensors = 6;

  explicit Pattern(const Tensors& tensors) : Pattern(checked(tensors)) {}

  explicit Pattern(const Tensor* tensors)
      : w_(given(tensors[0], tensors[1], tensors[2].numel() - 1)),
        wt_(given(tensors[2], tensors[3], w_.csr.rows, "t_crow_indices", "t_col_indices")),
        order_(data<int32_t>(tensors[4])) {
    check_ends(w_);
    check_ends(wt_);
    check_indices(tensors[4], "permutation", ScalarType::Int, nnz());
    check_indices(tensors[3], "t_col_indices", ScalarType::Int, nnz());
    check_type(tensors[5], "plan", ScalarType::Int);
    check_shape(tensors[5], "plan", {2, size_of_plan(nnz())});
    if (!tensors[5].is_contiguous()) fail("expected a contiguous plan");
    w_.csr.plan = data<int32_t>(tensors[5]);
    wt_.csr.plan = w_.csr.plan + size_of_plan(nnz());
  }

  int64_t rows() const { return w_.csr.rows; }
  int64_t cols() const { return w_.csr.cols; }
  int64_t nnz() const { return w_.csr.nnz(); }

  const Given& w() const { return w_; }
  const Given& wt() const { return wt_; }

  // The links of W [out_features x in_features], and those of its transpose.
  Links links(Check check = Check::kIndices) const { return Links(w_, check); }
  Links transposed(Check check = Check::kIndices) const { return Links(wt_, check); }

  // [nnz], link p of the transpose is link order[p] of W.
  const int32_t* order(Check check = Check::kIndices) const {
    if (check == Check::kIndices && !OnCuda::here())
      Links::check_range(order_, nnz(), "permutation", nnz());
    return order_;
  }

  // Raises what a kernel has seen: that some index is out of range.
  [[noreturn]] void fail_of_range() const {
    links(), transposed(), order();
    fail("expected a pattern that nobody writes to during an operation, found one that changes");
  }

 private:
  static const Tensor* checked(const Tensors& tensors) {
    if (tensors.size() != kTensors)
      fail("expected the six tensors of a pattern, found ", tensors.size());
    return tensors.data();
  }

  Given w_, wt_;
  const int32_t* order_;
};

}  // namespace sparse_engine::bindings
