// check_csr, transpose, sample_absent, smallest, rewire and carry.
#include <cmath>
#include <tuple>

#include "check.h"
#include "sparse_engine/pattern.h"
#include "sparse_engine/select.h"

namespace sparse_engine::bindings {
namespace {

constexpr int64_t kMostLinks = (int64_t{1} << 31) - 1;

void check_csr(const Tensor& crow, const Tensor& col, int64_t in_features) {
  if (crow.dim() != 1 || crow.numel() < 1)
    fail("expected crow_indices of shape [out_features + 1], found ", shape_of(crow));
  check_indices(crow, "crow_indices", ScalarType::Long, crow.numel());
  check_indices(col, "col_indices", ScalarType::Int, col.numel());
  if (in_features < 0 || in_features > kMostLinks)
    fail("expected in_features in [0, 2^31), found ", in_features);
  if (col.numel() > kMostLinks) fail("expected fewer than 2^31 links, found ", col.numel());
  const Csr w{data<int64_t>(crow), data<int32_t>(col), crow.numel() - 1, in_features, col.numel()};
  const std::string problem = pattern_kernels().what_is_wrong(w, col.numel());
  if (!problem.empty()) fail(problem);
}

std::tuple<Tensor, Tensor, Tensor> transpose_pattern(const Tensor& crow, const Tensor& col,
                                                     int64_t in_features) {
  const Csr w = csr(crow, col, in_features);
  Tensor t_crow = torch::stable::new_empty(crow, {in_features + 1});
  Tensor t_col = empty(col, {w.nnz()});
  Tensor permutation = empty(col, {w.nnz()});
  pattern_kernels().transpose(w, mutable_data<int64_t>(t_crow), mutable_data<int32_t>(t_col),
                              mutable_data<int32_t>(permutation), threads());
  return std::make_tuple(t_crow, t_col, permutation);
}

Tensor sample(const Tensor& crow, const Tensor& col, int64_t in_features,
              const std::optional<Tensor>& dropped, int64_t count, int64_t seed, int64_t step,
              int64_t stream) {
  const Csr w = csr(crow, col, in_features);
  const bool* gone = nullptr;
  int64_t absent = w.rows * w.cols - w.nnz();
  if (dropped) {
    check_indices(*dropped, "dropped", ScalarType::Bool, w.nnz());
    gone = data<bool>(*dropped);
    absent += pattern_kernels().count_true(gone, w.nnz(), threads());
  }
  if (count < 0 || count > absent)
    fail("expected to sample between 0 and ", absent, " absent cells, found ", count);
  Tensor cells = empty(crow, {count});
  pattern_kernels().sample_absent(
      w, gone, count,
      {static_cast<uint64_t>(seed), static_cast<uint32_t>(step), static_cast<uint32_t>(stream)},
      mutable_data<int64_t>(cells), threads());
  return cells;
}

std::tuple<Tensor, Tensor, Tensor, Tensor> rewire_pattern(const Tensor& crow, const Tensor& col,
                                                          int64_t in_features, const Tensor& keep,
                                                          const Tensor& cells) {
  const Csr w = csr(crow, col, in_features);
  check_indices(keep, "keep", ScalarType::Bool, w.nnz());
  check_indices(cells, "cells", ScalarType::Long, cells.numel());
  const bool* kept = data<bool>(keep);
  const int64_t* born = data<int64_t>(cells);
  const int64_t total = cells.numel() + pattern_kernels().count_true(kept, w.nnz(), threads());
  if (total > kMostLinks) fail("expected fewer than 2^31 links, found ", total);
  const int64_t wrong =
      pattern_kernels().first_unordered(born, cells.numel(), w.rows * w.cols, threads());
  if (wrong >= 0)
    fail("expected cells strictly increasing in [0, ", w.rows * w.cols, "), found ", born[wrong],
         " at position ", wrong);
  Tensor new_crow = torch::stable::new_empty(crow, {crow.numel()});
  Tensor new_col = empty(col, {total});
  Tensor slot_map = empty(col, {w.nnz()});
  Tensor born_slots = empty(col, {cells.numel()});
  const int64_t clash =
      pattern_kernels().rewire({w, kept, born, cells.numel(), mutable_data<int64_t>(new_crow),
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
  const int64_t wrong = pattern_kernels().carry(t.const_data_ptr(), data<int32_t>(slot_map),
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
  if (OnCuda::here()) {
    torch::stable::copy_(t, carry_entries(t, slot_map, size));
    return;
  }
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
    Tensor chosen = torch::stable::new_empty(scores, {n}, ScalarType::Bool);
    const Scores<T> all{data<T>(scores), n, negate, static_cast<T>(above.value_or(NAN))};
    const int64_t nan = selection<T>().smallest(all, count, mutable_data<bool>(chosen), threads());
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
    Tensor chosen = torch::stable::new_empty(values, {n}, ScalarType::Bool);
    const int64_t nan = selection<T>().nearest_zero(data<T>(values), n, share,
                                                    mutable_data<bool>(chosen), threads());
    if (nan >= 0) fail("expected values that can be ordered, found NaN at link ", nan);
    return chosen;
  });
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(sparse_engine, m) {
  m.def("check_csr(Tensor crow, Tensor col, int in_features) -> ()");
  m.def("transpose(Tensor crow, Tensor col, int in_features) -> (Tensor, Tensor, Tensor)");
  m.def(
      "sample_absent(Tensor crow, Tensor col, int in_features, Tensor? dropped, int count, "
      "int seed, int step, int stream) -> Tensor");
  m.def(
      "rewire(Tensor crow, Tensor col, int in_features, Tensor keep, Tensor cells) "
      "-> (Tensor, Tensor, Tensor, Tensor)");
  m.def("smallest(Tensor scores, int count, float? above, bool negate) -> Tensor");
  m.def("nearest_zero(Tensor values, float share) -> Tensor");
  m.def("carry(Tensor tensor, Tensor slot_map, int size) -> Tensor");
  m.def("carry_(Tensor(a!) tensor, Tensor slot_map) -> ()");
}

STABLE_TORCH_LIBRARY_IMPL(sparse_engine, CPU, m) {
  m.impl("check_csr", TORCH_BOX(&check_csr));
  m.impl("transpose", TORCH_BOX(&transpose_pattern));
  m.impl("sample_absent", TORCH_BOX(&sample));
  m.impl("rewire", TORCH_BOX(&rewire_pattern));
  m.impl("smallest", TORCH_BOX(&smallest_entries));
  m.impl("nearest_zero", TORCH_BOX(&nearest_zero_entries));
  m.impl("carry", TORCH_BOX(&carry_entries));
  m.impl("carry_", TORCH_BOX(&carry_in_place));
}

STABLE_TORCH_LIBRARY_IMPL(sparse_engine, CUDA, m) {
  m.impl("check_csr", SPARSE_ENGINE_CUDA_BOX(&check_csr));
  m.impl("transpose", SPARSE_ENGINE_CUDA_BOX(&transpose_pattern));
  m.impl("sample_absent", SPARSE_ENGINE_CUDA_BOX(&sample));
  m.impl("rewire", SPARSE_ENGINE_CUDA_BOX(&rewire_pattern));
  m.impl("smallest", SPARSE_ENGINE_CUDA_BOX(&smallest_entries));
  m.impl("nearest_zero", SPARSE_ENGINE_CUDA_BOX(&nearest_zero_entries));
  m.impl("carry", SPARSE_ENGINE_CUDA_BOX(&carry_entries));
  m.impl("carry_", SPARSE_ENGINE_CUDA_BOX(&carry_in_place));
}

}  // namespace sparse_engine::bindings
