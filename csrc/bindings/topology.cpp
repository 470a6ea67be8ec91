// check_csr, transpose, sample_absent, smallest, rewire and carry. On a CUDA device they consist of
// PyTorch's operations: sparse_engine/ops/_topology_cuda.py.
#include <cmath>
#include <tuple>

#include "pattern.h"
#include "sparse_engine/select.h"

namespace sparse_engine::bindings {
namespace {

constexpr int64_t kMostLinks = (int64_t{1} << 31) - 1;

// A mark for each link.
const bool* marks(const Tensor& t, const char* name, int64_t nnz) {
  check_indices(t, name, ScalarType::Bool, nnz);
  check_bytes(t, name);
  return data<bool>(t);
}

void check_csr(const Tensor& crow, const Tensor& col, int64_t in_features) {
  Links(given(crow, col, in_features), Check::kSorted);
}

std::tuple<Tensor, Tensor, Tensor> transpose_pattern(const Tensor& crow, const Tensor& col,
                                                     int64_t in_features) {
  const Links links(given(crow, col, in_features), Check::kSorted);
  const Csr& w = links.csr();
  Tensor t_crow = empty(crow, {in_features + 1});
  Tensor t_col = empty(col, {w.nnz()});
  Tensor permutation = empty(col, {w.nnz()});
  sparse_engine::transpose(w, mutable_data<int64_t>(t_crow), mutable_data<int32_t>(t_col),
                           mutable_data<int32_t>(permutation), threads());
  return std::make_tuple(t_crow, t_col, permutation);
}

Tensor sample(const Tensor& crow, const Tensor& col, int64_t in_features, const Optional& dropped,
              int64_t count, int64_t seed, int64_t step, int64_t stream) {
  const Links links(given(crow, col, in_features), Check::kSorted);
  const Csr& w = links.csr();
  const bool* gone = nullptr;
  int64_t absent = w.rows * w.cols - w.nnz();
  if (dropped) {
    gone = marks(*dropped, "dropped", w.nnz());
    absent += sparse_engine::count_true(gone, w.nnz(), threads());
  }
  if (count < 0 || count > absent)
    fail("expected to sample between 0 and ", absent, " absent cells, found ", count);
  Tensor cells = empty(crow, {count});
  sparse_engine::sample_absent(
      w, gone, count,
      {static_cast<uint64_t>(seed), static_cast<uint32_t>(step), static_cast<uint32_t>(stream)},
      mutable_data<int64_t>(cells), threads());
  return cells;
}

std::tuple<Tensor, Tensor, Tensor, Tensor> rewire_pattern(const Tensor& crow, const Tensor& col,
                                                          int64_t in_features, const Tensor& keep,
                                                          const Tensor& cells) {
  const Links links(given(crow, col, in_features), Check::kSorted);
  const Csr& w = links.csr();
  check_indices(cells, "cells", ScalarType::Long, cells.numel());
  const bool* kept = marks(keep, "keep", w.nnz());
  const int64_t* born = data<int64_t>(cells);
  const int64_t total = cells.numel() + sparse_engine::count_true(kept, w.nnz(), threads());
  if (total > kMostLinks) fail("expected fewer than 2^31 links, found ", total);
  const int64_t wrong =
      sparse_engine::first_unordered(born, cells.numel(), w.rows * w.cols, threads());
  if (wrong >= 0)
    fail("expected cells strictly increasing in [0, ", w.rows * w.cols, "), found ", born[wrong],
         " at position ", wrong);
  Tensor new_crow = empty(crow, {crow.numel()});
  Tensor new_col = empty(col, {total});
  Tensor slot_map = empty(col, {w.nnz()});
  Tensor born_slots = empty(col, {cells.numel()});
  const int64_t clash =
      sparse_engine::rewire({w, kept, born, cells.numel(), mutable_data<int64_t>(new_crow),
                             mutable_data<int32_t>(new_col), mutable_data<int32_t>(slot_map),
                             mutable_data<int32_t>(born_slots)},
                            threads());
  if (clash >= 0)
    fail("expected every new cell to be absent, found an existing link at row ", clash / w.cols,
         ", column ", clash % w.cols);
  return std::make_tuple(new_crow, new_col, slot_map, born_slots);
}

int word_of(const Tensor& t) {
  const int width = static_cast<int>(t.element_size());
  if (width != 1 && width != 2 && width != 4 && width != 8)
    fail("expected entries of 1, 2, 4 or 8 bytes, found ", width);
  return width;
}

void carry_checked(const Tensor& t, const Tensor& slot_map, int64_t size, void* to) {
  const int64_t wrong = sparse_engine::carry(t.const_data_ptr(), data<int32_t>(slot_map),
                                             slot_map.numel(), word_of(t), size, to, threads());
  if (wrong != -1) fail("expected slots in [-1, ", size, "), found ", wrong);
}

Tensor carry_entries(const Tensor& t, const Tensor& slot_map, int64_t size) {
  check_indices(slot_map, "slot_map", ScalarType::Int, slot_map.numel());
  check_indices(t, "tensor", t.scalar_type(), slot_map.numel());
  Tensor moved = empty(t, {size});
  carry_checked(t, slot_map, size, moved.mutable_data_ptr());
  return moved;
}

void carry_in_place(Tensor t, const Tensor& slot_map) {
  check_indices(slot_map, "slot_map", ScalarType::Int, slot_map.numel());
  check_indices(t, "tensor", t.scalar_type(), slot_map.numel());
  const int64_t size = t.numel(), bytes = size * word_of(t);
  Scratch scratch(Scratch::bytes_of<char>(bytes));
  char* moved = scratch.take<char>(bytes);
  carry_checked(t, slot_map, size, moved);
  copy_bytes(moved, bytes, t.mutable_data_ptr(), threads());
}

Tensor smallest_entries(const Tensor& scores, int64_t count, std::optional<double> above,
                        bool negate) {
  return with_real(scores, "scores", [&](auto zero) {
    using T = decltype(zero);
    const int64_t n = scores.numel();
    check_indices(scores, "scores", kType<T>, n);
    if (count < 0) fail("expected count of at least 0, found ", count);
    Tensor chosen = empty(scores, {n}, ScalarType::Bool);
    const Scores<T> all{data<T>(scores), n, negate, static_cast<T>(above.value_or(NAN))};
    const int64_t nan = sparse_engine::smallest(all, count, mutable_data<bool>(chosen), threads());
    if (nan >= 0) fail("expected scores that can be ordered, found NaN at link ", nan);
    return chosen;
  });
}

Tensor nearest_zero_entries(const Tensor& values, double share) {
  return with_real(values, "values", [&](auto zero) {
    using T = decltype(zero);
    const int64_t n = values.numel();
    check_indices(values, "values", kType<T>, n);
    if (!(share >= 0 && share <= 1)) fail("expected share in [0, 1], found ", share);
    Tensor chosen = empty(values, {n}, ScalarType::Bool);
    const int64_t nan = sparse_engine::nearest_zero(data<T>(values), n, share,
                                                    mutable_data<bool>(chosen), threads());
    if (nan >= 0) fail("expected values that can be ordered, found NaN at link ", nan);
    return chosen;
  });
}

}  // namespace

SPARSE_ENGINE_ON_CPU("check_csr", check_csr, "(Tensor crow, Tensor col, int in_features) -> ()")
SPARSE_ENGINE_ON_CPU("transpose", transpose_pattern,
                     "(Tensor crow, Tensor col, int in_features) -> (Tensor, Tensor, Tensor)")
SPARSE_ENGINE_ON_CPU("sample_absent", sample,
                     "(Tensor crow, Tensor col, int in_features, Tensor? dropped, int count, "
                     "int seed, int step, int stream) -> Tensor")
SPARSE_ENGINE_ON_CPU("rewire", rewire_pattern,
                     "(Tensor crow, Tensor col, int in_features, Tensor keep, Tensor cells) -> "
                     "(Tensor, Tensor, Tensor, Tensor)")
SPARSE_ENGINE_ON_CPU("smallest", smallest_entries,
                     "(Tensor scores, int count, float? above, bool negate) -> Tensor")
SPARSE_ENGINE_ON_CPU("nearest_zero", nearest_zero_entries, "(Tensor values, float share) -> Tensor")
SPARSE_ENGINE_ON_CPU("carry", carry_entries, "(Tensor tensor, Tensor slot_map, int size) -> Tensor")
SPARSE_ENGINE_ON_CPU("carry_", carry_in_place, "(Tensor(a!) tensor, Tensor slot_map) -> ()")

}  // namespace sparse_engine::bindings
