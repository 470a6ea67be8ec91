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
  const Dots<A> terms{a.panels, b.panels};
  sum_over_panels(link_sums_of<A>(s.w, shape, terms, Panelled{panels}, s.gradient, stream), shape,
                  s.accumulate, stream);
}

template void sddmm(const Sddmm<float>&, const Stream&);
template void sddmm(const Sddmm<double>&, const Stream&);
template void sddmm(const Sddmm<float, BFloat16>&, const Stream&);

}  // namespace sparse_engine::cuda
