// Layer normalisation of a panel's columns. In both directions it needs two sums over all features
// of a column: a warp adds up a block of features, and behind a barrier every warp adds up all
// blocks for itself, in one order.
#pragma once

#include "products/row_sums.cuh"
#include "sparse_engine/normed.h"

namespace sparse_engine::cuda {
namespace {

template <typename T>
__device__ T gain_of(const Norm<T>& norm, int64_t feature) {
  return norm.gain ? norm.gain[feature] : T(1);
}

// Scales the normalised number of a feature by its gain, and adds its bias.
template <typename T>
__device__ T scaled(const Norm<T>& norm, int64_t feature, T n) {
  return n * gain_of(norm, feature) + (norm.bias ? norm.bias[feature] : T(0));
}

// Two numbers of each of V columns.
template <typename T, int V>
struct Two {
  Vec<T, V> first, second;
};

// Mean and 1 / sqrt(variance + eps) of a column, or two means.
template <typename T>
struct Moments {
  T first, second;
};

template <typename T>
struct FeatureSums {
  static constexpr int64_t kMostBlocks = 128;

  T* blocks;  // [panels, kMostBlocks, 2, width]
  int64_t features;
  int width;

  // Each block's mean, and the sum of the squared deviations from it, which nothing cancels; of
  // the first so many panels of x.
  template <int V>
  __device__ void describe(int panels, const Panels<T>& x) const {
    each_block<V>(panels, [&](int64_t panel, int64_t first, int64_t count, const Lane& lane) {
      const auto at = [&](int64_t i) { return load<V>(x.row(panel, first + i) + lane.column); };
      Vec<T, V> mean = add_up<V>(count, lane, at);
      for (int v = 0; v < V; ++v) mean.at[v] /= T(count);
      return Two<T, V>{mean, add_up<V>(count, lane, [&](int64_t i) {
                         Vec<T, V> off = at(i);
                         for (int v = 0; v < V; ++v) off.at[v] -= mean.at[v];
                         for (int v = 0; v < V; ++v) off.at[v] *= off.at[v];
                         return off;
                       })};
    });
  }

  // The gradient dy of what was normalised to n, both of the first so many panels: each block's
  // sums of dn = gain dy, and of dn n.
  template <int V>
  __device__ void sum(int panels, const Norm<T>& norm, const Panels<T>& dy,
                      const Panels<T>& n) const {
    each_block<V>(panels, [&](int64_t panel, int64_t first, int64_t count, const Lane& lane) {
      const auto dn = [&](int64_t i) {
        Vec<T, V> own = load<V>(dy.row(panel, first + i) + lane.column);
        for (int v = 0; v < V; ++v) own.at[v] *= gain_of(norm, first + i);
        return own;
      };
      return Two<T, V>{add_up<V>(count, lane, dn), add_up<V>(count, lane, [&](int64_t i) {
                         const Vec<T, V> other = load<V>(n.row(panel, first + i) + lane.column);
                         Vec<T, V> own = dn(i);
                         for (int v = 0; v < V; ++v) own.at[v] *= other.at[v];
                         return own;
                       })};
    });
  }

  // From what describe() has left, behind a barrier, of this lane's column of a panel. All lanes of
  // a warp call it, as they do means().
  __device__ Moments<T> moments(int64_t panel, T eps) const {
    const Lane lane(by_block(1), 1);
    const T mean =
        add_up<1>(count(), lane,
                  [&](int64_t b) { return Vec<T, 1>{*block(panel, b, 0, lane) * T(size_of(b))}; })
            .at[0] /
        T(features);
    const T squares = add_up<1>(count(), lane, [&](int64_t b) {
                        const T off = *block(panel, b, 0, lane) - mean;
                        return Vec<T, 1>{*block(panel, b, 1, lane) + off * off * T(size_of(b))};
                      }).at[0];
    return {mean, T(1) / std::sqrt(squares / T(features) + eps)};
  }

  // From what sum() has left, behind a barrier: the means over all features.
  __device__ Moments<T> means(int64_t panel) const {
    const Lane lane(by_block(1), 1);
    const auto mean = [&](int which) {
      return add_up<1>(count(), lane,
                       [&](int64_t b) { return Vec<T, 1>{*block(panel, b, which, lane)}; })
                 .at[0] /
             T(features);
    };
    const T first = mean(0);
    return {first, mean(1)};
  }

  // body(unit) for so many units of this lane's column.
  __device__ int column() const { return static_cast<int>(threadIdx.x) % width; }
  template <class Body>
  __device__ void each_unit(int64_t units, const Body& body) const {
    for_each_item({width, width}, units, [&](int64_t unit) {
      if (unit >= 0) body(unit);
    });
  }

 private:
  __device__ Lanes by_block(int vector) const { return {kWarp, width / vector}; }
  // Blocks have this many features, the last one often fewer.
  __device__ int64_t size() const { return (features + kMostBlocks - 1) / kMostBlocks; }
  __device__ int64_t count() const { return (features + size() - 1) / size(); }
  __device__ int64_t size_of(int64_t b) const {
    const int64_t left = features - b * size();
    return left < size() ? left : size();
  }
  __device__ T* block(int64_t panel, int64_t b, int which, const Lane& lane) const {
    return blocks + ((panel * kMostBlocks + b) * 2 + which) * width + lane.column;
  }

  // at(0) + .. + at(count - 1), the same for all lanes of a column.
  template <int V, class At>
  __device__ Vec<T, V> add_up(int64_t count, const Lane& lane, const At& at) const {
    Vec<T, V> sum = {};
#pragma unroll 4
    for (int64_t i = lane.slot; i < count; i += lane.slots) {
      const Vec<T, V> more = at(i);
#pragma unroll
      for (int v = 0; v < V; ++v) sum.at[v] += more.at[v];
    }
    for (int distance = kWarp / 2; distance >= by_block(V).across; distance /= 2)
#pragma unroll
      for (int v = 0; v < V; ++v) sum.at[v] += __shfl_xor_sync(~0u, sum.at[v], distance);
    return sum;
  }

  // Stores what body(panel, first feature, features, lane) returns for each block.
  template <int V, class Body>
  __device__ void each_block(int panels, const Body& body) const {
    const Lane lane(by_block(V), V);
    for_each_item(by_block(V), panels * count(), [&](int64_t item) {
      const int64_t panel = item / count(), b = item - panel * count();
      const Two<T, V> sums = body(panel, b * size(), size_of(b), lane);
      if (lane.slot > 0) return;
      store<V>(block(panel, b, 0, lane), sums.first);
      store<V>(block(panel, b, 1, lane), sums.second);
    });
  }
};

template <typename T>
FeatureSums<T> feature_sums_of(int64_t features, const Shape& shape, const Stream& stream) {
  return {take<T>(stream, 2 * FeatureSums<T>::kMostBlocks * shape.padded()), features, shape.width};
}

// The gradient of a number that was normalised to n, from that of the result and the means().
template <typename T>
__device__ T normalised_back(const Norm<T>& norm, int64_t feature, T dy, T n, T scale,
                             const Moments<T>& means) {
  return scale * (dy * gain_of(norm, feature) - means.first - n * means.second);
}

}  // namespace
}  // namespace sparse_engine::cuda
