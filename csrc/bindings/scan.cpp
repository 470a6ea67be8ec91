// scan_absent. On a CUDA device it consists of PyTorch's operations.
#include "sparse_engine/scan.h"

#include <tuple>

#include "pattern.h"

namespace sparse_engine::bindings {
namespace {

std::tuple<Tensor, Tensor> scan(const Tensor& block, const Tensor& crow, const Tensor& col,
                                int64_t in_features, int64_t first_row, double above) {
  const Links links(given(crow, col, in_features), Check::kSorted);
  const Csr& w = links.csr();
  return with_real(block, "block", [&](auto zero) {
    using T = decltype(zero);
    check_type(block, "block", kType<T>);
    if (block.dim() != 2 || block.size(1) != w.cols || !block.is_contiguous())
      fail("expected a contiguous block of shape [rows, ", w.cols, "], found ", shape_of(block));
    if (first_row < 0 || first_row > w.rows || block.size(0) > w.rows - first_row)
      fail("expected rows in [0, ", w.rows, "), found ", block.size(0), " from ", first_row, " on");
    Tensor magnitudes, cells;
    const auto room = [&](int64_t found) {
      magnitudes = empty(block, {found});
      cells = empty(crow, {found});
      return Entries<T>{mutable_data<T>(magnitudes), mutable_data<int64_t>(cells)};
    };
    sparse_engine::scan_absent<T>(w, {data<T>(block), first_row, block.size(0)},
                                  static_cast<T>(above), room, threads());
    return std::make_tuple(magnitudes, cells);
  });
}

}  // namespace

SPARSE_ENGINE_ON_CPU("scan_absent", scan,
                     "(Tensor block, Tensor crow, Tensor col, int in_features, int first_row, "
                     "float above) -> (Tensor, Tensor)")

}  // namespace sparse_engine::bindings
