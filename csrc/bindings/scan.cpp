// scan_absent.
#include "sparse_engine/scan.h"

#include <tuple>

#include "check.h"

namespace sparse_engine::bindings {
namespace {

std::tuple<Tensor, Tensor> scan(const Tensor& block, const Tensor& crow, const Tensor& col,
                                int64_t in_features, int64_t first_row, double above) {
  const Csr w = csr(crow, col, in_features);
  return with_real(block, "block", [&](auto zero) {
    using T = decltype(zero);
    check_type(block, "block", kType<T>);
    if (block.dim() != 2 || block.size(1) != w.cols || !block.is_contiguous())
      fail("expected a contiguous block of shape [rows, ", w.cols, "], found ", shape_of(block));
    if (first_row < 0 || first_row + block.size(0) > w.rows)
      fail("expected rows in [0, ", w.rows, "), found ", first_row, " to ",
           first_row + block.size(0));
    Tensor magnitudes, cells;
    const auto room = [&](int64_t found) {
      magnitudes = torch::stable::new_empty(block, {found});
      cells = torch::stable::new_empty(crow, {found});
      return Entries<T>{mutable_data<T>(magnitudes), mutable_data<int64_t>(cells)};
    };
    selection<T>().scan_absent(w, {data<T>(block), first_row, block.size(0)}, static_cast<T>(above),
                               room, threads());
    return std::make_tuple(magnitudes, cells);
  });
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(sparse_engine, m) {
  m.def(
      "scan_absent(Tensor block, Tensor crow, Tensor col, int in_features, int first_row, "
      "float above) -> (Tensor, Tensor)");
}

STABLE_TORCH_LIBRARY_IMPL(sparse_engine, CPU, m) { m.impl("scan_absent", TORCH_BOX(&scan)); }

STABLE_TORCH_LIBRARY_IMPL(sparse_engine, CUDA, m) {
  m.impl("scan_absent", SPARSE_ENGINE_CUDA_BOX(&scan));
}

}  // namespace sparse_engine::bindings
