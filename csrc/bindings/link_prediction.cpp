// ch3_l3 and ch2_l3n.
#include "sparse_engine/link_prediction.h"

#include <tuple>

#include "pattern.h"

namespace sparse_engine::bindings {
namespace {

template <std::vector<Prediction> (*kRule)(const LinkPrediction&)>
std::tuple<Tensor, Tensor> predict(const Tensor& crow, const Tensor& col, const Tensor& t_crow,
                                   const Tensor& t_col, int64_t count, bool sample, int64_t seed,
                                   int64_t step, int64_t stream) {
  const Given given_w = given(crow, col, t_crow.numel() - 1);
  const Given given_wt = given(t_crow, t_col, given_w.csr.rows, "t_crow_indices", "t_col_indices");
  check_ends(given_w), check_ends(given_wt);
  const Links links(given_w, Check::kSorted), turned(given_wt, Check::kSorted);
  const Csr &w = links.csr(), &wt = turned.csr();
  if (w.nnz() != wt.nnz())
    fail("expected as many links in the transpose as in the pattern, found ", wt.nnz(), " and ",
         w.nnz());
  if (!is_transpose(w, wt, threads()))
    fail("expected t_crow and t_col to be the transpose of the pattern, found other links");
  if (count < 0) fail("expected count of at least 0, found ", count);
  const RandomKey key{static_cast<uint64_t>(seed), static_cast<uint32_t>(step),
                      static_cast<uint32_t>(stream)};
  const std::vector<Prediction> best = kRule({w, wt, count, sample ? &key : nullptr, threads()});
  const int64_t found = static_cast<int64_t>(best.size());
  Tensor cells = empty(crow, {found});
  Tensor scores = empty(crow, {found}, ScalarType::Double);
  for (int64_t n = 0; n < found; ++n) {
    mutable_data<int64_t>(cells)[n] = best[n].cell;
    mutable_data<double>(scores)[n] = best[n].score;
  }
  return std::make_tuple(cells, scores);
}

}  // namespace

SPARSE_ENGINE_CPU_OPERATION("ch3_l3", predict<ch3_l3>,
                            "(Tensor crow, Tensor col, Tensor t_crow, Tensor t_col, int count, "
                            "bool sample, int seed, int step, int stream) -> (Tensor, Tensor)")
SPARSE_ENGINE_CPU_OPERATION("ch2_l3n", predict<ch2_l3n>,
                            "(Tensor crow, Tensor col, Tensor t_crow, Tensor t_col, int count, "
                            "bool sample, int seed, int step, int stream) -> (Tensor, Tensor)")

}  // namespace sparse_engine::bindings
