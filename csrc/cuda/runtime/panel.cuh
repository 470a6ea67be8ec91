// Panels: features x batch, batch innermost, `width` columns at a time, so that one link is one
// weight times one aligned run of numbers.
#pragma once

#include <type_traits>

#include "runtime/each.cuh"
#include "runtime/kept.cuh"
#include "sparse_engine/matrix.h"

namespace sparse_engine::cuda {
namespace {

constexpr int kMostWidth = 32;
// Elements of a tile on its way from one layout to the other.
constexpr int kTile = 1024;

// Numbers of 16 bytes.
template <typename T>
constexpr int kVector = 16 / sizeof(T);

// The rows of one panel, from a column on. A row begins fewer than 2^32 bytes behind the one
// before.
template <typename T>
struct Rows {
  const char* data;
  uint32_t stride;  // bytes

  template <int V>
  __device__ Vec<T, V> load(int feature) const {
    return *reinterpret_cast<const Vec<T, V>*>(data +
                                               uint64_t{static_cast<uint32_t>(feature)} * stride);
  }
};

// The panels of a features x columns matrix.
template <typename T>
struct Panels {
  T* data;
  int64_t row_stride;
  int64_t panel_stride;

  __host__ __device__ T* row(int64_t panel, int64_t feature) const {
    return data + panel * panel_stride + feature * row_stride;
  }
  __device__ Rows<std::remove_const_t<T>> rows(int64_t panel, int column) const {
    return {reinterpret_cast<const char*>(row(panel, 0) + column),
            static_cast<uint32_t>(row_stride * sizeof(T))};
  }
};

// A column of a batch: which one of which panel.
struct Column {
  int panel, at;
};

// How the columns of a batch are cut.
struct Shape {
  int64_t columns;
  int64_t panels;
  int width;  // 1, or a power of two from kVector to kMostWidth

  int64_t padded() const { return panels * width; }
  // The length of the vectors that panels of this width are made of.
  template <typename T>
  int vector() const {
    return width == 1 ? 1 : kVector<T>;
  }
};

// The widest panels that add at most a quarter to the columns; columns >= 1.
template <typename T>
Shape shape_of(int64_t columns) {
  if (columns == 1) return {1, 1, 1};
  int width = kVector<T>;
  while (width < kMostWidth && width < columns) width *= 2;
  while (width > 8 && 4 * divide_up(columns, width) * width > 5 * columns) width /= 2;
  return {columns, divide_up(columns, width), width};
}

// body(V) with that length, known at compile time.
template <typename T, class Body>
void with_vector(const Shape& shape, const Body& body) {
  if (shape.width == 1)
    body(std::integral_constant<int, 1>());
  else
    body(std::integral_constant<int, kVector<T>>());
}

// body(V, full), where `full` says whether panels are as wide as they can be.
template <typename T, class Body>
void with_width(const Shape& shape, const Body& body) {
  with_vector<T>(shape, [&](auto vector) {
    if constexpr (vector > 1)
      if (shape.width == kMostWidth) return body(vector, std::true_type());
    body(vector, std::false_type());
  });
}

// The columns that are running at each step, the first ones; see sequence.cuh.
struct Running {
  const int64_t* first_row = nullptr;  // [steps + 1], on the device, or null: all of them

  __device__ int64_t columns(int64_t step, int64_t all) const {
    return first_row ? first_row[step + 1] - first_row[step] : all;
  }
};

// The panels of a sequence: [steps, panels, features, width].
template <typename T>
struct Steps {
  T* data;
  int64_t features;
  int64_t panels;
  int width;

  __host__ __device__ int64_t step_stride() const { return panels * features * width; }
  __host__ __device__ Panels<T> at(int64_t step) const {
    return {data + step * step_stride(), width, features * width};
  }
  __device__ T& operator()(int64_t step, int64_t feature, Column n) const {
    return data[((step * panels + n.panel) * features + feature) * width + n.at];
  }
  __host__ __device__ Steps from(int64_t step) const {
    return {data + step * step_stride(), features, panels, width};
  }
  // With row `feature` as the first.
  Steps from_row(int64_t feature) const {
    return {data + feature * width, features, panels, width};
  }
};

template <typename T>
Steps<T> take_steps(const Stream& stream, int64_t steps, int64_t features, const Shape& shape) {
  return {take<T>(stream, steps * features * shape.padded()), features, shape.panels, shape.width};
}

// A copy between a strided array and panels, step by step.
template <typename T>
struct Transfer {
  T* array;  // element (step, feature, column) at step * step_stride + feature * feature_stride +
             // ..
  int64_t step_stride, feature_stride, column_stride;
  T* panels;  // element (step, panel, feature, column) at
              // step * panels_step + panel * panel_stride + feature * row_stride + column
  int64_t panels_step, panel_stride, row_stride;
  int64_t steps, features, columns, panel_count;
  int width;
  Running running = {};  // packed, a step begins where the one before it ends
  T padding = {};        // of a panel's columns beyond the last
  // Where it is not zero, a step is [of_step, columns] instead; its features that are meant begin
  // with `first` and are so far apart.
  int64_t of_step = 0, first = 0, apart = 1;

  struct Step {
    T* array;
    int64_t feature_stride, column_stride, columns;
  };
  __device__ Step step(int64_t t) const {
    const int64_t own = running.columns(t, columns);
    const int64_t row = running.first_row ? running.first_row[t] : t * columns;
    if (of_step > 0) return {array + row * of_step + first * own, apart * own, 1, own};
    return {array + (running.first_row ? row * column_stride : t * step_stride), feature_stride,
            column_stride, own};
  }
  __host__ __device__ int64_t tile_features() const { return kTile / width; }
  __host__ __device__ int64_t tiles() const {
    return steps * panel_count * ((features + tile_features() - 1) / tile_features());
  }
};

// One block per tile: `kTile` elements, through shared memory, so that both sides are read and
// written in runs. Columns of a panel beyond the last are written as `padding`, and never read;
// panels without any column are left alone.
template <bool kToPanels, typename T>
__global__ void __launch_bounds__(kThreads) transfer_tiles(const Transfer<T> a) {
  __shared__ T tile[2 * kTile];  // rows of width + 1: no two lanes meet in one bank
  const int rows = static_cast<int>(a.tile_features());
  const int64_t row_tiles = (a.features + rows - 1) / rows;
  for (int64_t at = blockIdx.x; at < a.tiles(); at += gridDim.x) {
    const int64_t step = at / (row_tiles * a.panel_count);
    const int64_t panel = at / row_tiles % a.panel_count, first = at % row_tiles * rows;
    const typename Transfer<T>::Step of = a.step(step);
    T* array = of.array + first * of.feature_stride + panel * a.width * of.column_stride;
    T* panels = a.panels + step * a.panels_step + panel * a.panel_stride + first * a.row_stride;
    const int64_t columns = of.columns - panel * a.width;
    if (columns <= 0) continue;
    const auto array_side = [&](auto move) {
      for (int i = threadIdx.x; i < rows * a.width; i += blockDim.x) {
        const bool feature_fast = of.feature_stride == 1;
        const int row = feature_fast ? i % rows : i / a.width;
        const int column = feature_fast ? i / rows : i % a.width;
        if (first + row < a.features)
          move(tile[row * (a.width + 1) + column],
               array + row * of.feature_stride + column * of.column_stride, column < columns);
      }
    };
    const auto panel_side = [&](auto move) {
      for (int i = threadIdx.x; i < rows * a.width; i += blockDim.x) {
        const int row = i / a.width, column = i % a.width;
        if (first + row < a.features)
          move(tile[row * (a.width + 1) + column], panels + row * a.row_stride + column);
      }
    };
    if (kToPanels)
      array_side([&](T& on_chip, const T* from, bool real) { on_chip = real ? *from : a.padding; });
    else
      panel_side([](T& on_chip, const T* from) { on_chip = *from; });
    __syncthreads();
    if (kToPanels)
      panel_side([](T& on_chip, T* to) { *to = on_chip; });
    else
      array_side([](T& on_chip, T* to, bool real) {
        if (real) *to = on_chip;
      });
    __syncthreads();
  }
}

// Between `features` features of a [steps, batch, array_features] array, from `feature` on, and the
// rows of `panels` from `row` on. Which of the two is written is the caller's choice.
template <typename T>
Transfer<T> transfer(const T* array, int64_t array_features, int64_t feature,
                     const Steps<T>& panels, int64_t row, int64_t features, int64_t steps,
                     int64_t batch) {
  return {const_cast<T*>(array) + feature,
          batch * array_features,
          1,
          array_features,
          panels.data + row * panels.width,
          panels.step_stride(),
          panels.features * panels.width,
          panels.width,
          steps,
          features,
          batch,
          panels.panels,
          panels.width};
}

template <typename T>
void pack(const Transfer<T>& a, const Stream& stream) {
  launch(transfer_tiles<true, T>, a.tiles() * kThreads, stream, a);
}

template <typename T>
void unpack(const Transfer<T>& a, const Stream& stream) {
  launch(transfer_tiles<false, T>, a.tiles() * kThreads, stream, a);
}

// A dense features x columns matrix as panels: itself where it is made of whole panels already, a
// copy otherwise.
template <typename T>
class DensePanels {
 public:
  // What is only read may be a matrix of constants.
  template <typename U>
  DensePanels(const Dense<U>& matrix, int64_t features, const Shape& shape, const Stream& stream)
      : copy_{const_cast<T*>(matrix.data),
              0,
              matrix.feature_stride,
              matrix.column_stride,
              nullptr,
              0,
              features * shape.width,
              shape.width,
              1,
              features,
              shape.columns,
              shape.panels,
              shape.width} {
    const int vector = shape.vector<T>();
    const bool aligned =
        reinterpret_cast<uintptr_t>(matrix.data) % (vector * sizeof(T)) == 0 &&
        matrix.feature_stride % vector == 0 &&
        matrix.feature_stride < int64_t{UINT32_MAX} / static_cast<int64_t>(sizeof(T));  // see Rows
    const bool runs = matrix.column_stride == 1 || shape.columns == 1;
    if (runs && aligned && shape.padded() == shape.columns) {
      panels = {copy_.array, matrix.feature_stride, shape.width};
    } else {
      copy_.panels = take<T>(stream, features * shape.padded());
      panels = {copy_.panels, copy_.row_stride, copy_.panel_stride};
    }
  }

  // Fills the panels from the matrix, or the matrix from the panels, where they are apart.
  void read(const Stream& stream) const {
    if (copy_.panels) pack(copy_, stream);
  }
  void write(const Stream& stream) const {
    if (copy_.panels) unpack(copy_, stream);
  }

  Panels<T> panels;

 private:
  Transfer<T> copy_;
};

}  // namespace
}  // namespace sparse_engine::cuda
