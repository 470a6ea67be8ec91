#include "products/link_sums.cuh"
#include "sparse_engine/sddmm.h"

namespace sparse_engine::cuda {

template <typename T, typename A>
void sddmm(const Sddmm<T, A>& s, const Stream& stream) {
  const Shape shape = shape_of<A>(std::max<int64_t>(1, s.columns));
  const int64_t panels = s.columns == 0 ? 0 : shape.panels;
  const DensePanels<A> a(s.a, s.w.rows, shape, stream), b(s.b, s.w.cols, shape, stream);
  if (panels > 0) {
    a.read(stream);
    b.read(stream);
  }
  const LinkSums<A> sums =
      link_sums_of(s.w, shape, a.panels, b.panels, Panelled{panels}, s.gradient, stream);
  sum_over_panels(sums, shape, s.accumulate, stream);
}

template void sddmm(const Sddmm<float>&, const Stream&);
template void sddmm(const Sddmm<double>&, const Stream&);
template void sddmm(const Sddmm<float, BFloat16>&, const Stream&);

}  // namespace sparse_engine::cuda
