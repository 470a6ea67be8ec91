// Links with values of 8 or 16 bits, for inference with small batches: products, and recurrent
// layers over a whole sequence.
//
// A weight is cut into slices of kSliceRows rows, and the columns into groups of kGroupColumns.
// Where a slice meets a group its links fill slots: a slot holds one link of each row of the slice,
// by the column within the group and the code of the value. Rows with fewer links than others have
// codes of zero in the last slots. So 16 links are multiplied at once by entries of x that stay in
// registers, and a link takes 2 or 3 bytes in its slot where it otherwise takes 8.
//
// Rows are those of `gates` blocks of equal size, as in gated.h; each block begins with a new
// slice.
#pragma once

#include <cstdint>

#include "sparse_engine/bfloat16.h"
#include "sparse_engine/matrix.h"

namespace sparse_engine {

constexpr int kSliceRows = 16, kGroupColumns = 64;

// Codes of type V: int8_t, or BFloat16. Whatever the arrays hold, kernels stay inside them.
template <typename V>
struct Quantized {
  const V* codes;         // [slots, kSliceRows], value = code * scale of the row
  const uint8_t* places;  // [slots, kSliceRows], column within the group; six bits are read
  const int32_t* ends;    // [slices * groups + 1], the slots before each slice and group
  const float* scales;    // [rows]
  int64_t slots;          // < 2^31
  int64_t rows;
  int64_t cols;
  int64_t gates;  // >= 1, divides rows

  int64_t units() const { return rows / gates; }
  int64_t slices_of_gate() const { return (units() + kSliceRows - 1) / kSliceRows; }
  int64_t slices() const { return gates * slices_of_gate(); }
  int64_t groups() const { return (cols + kGroupColumns - 1) / kGroupColumns; }
};

// The number of columns or sequences up to which the kernels below are meant; for more, the links
// are unpacked and kernels of float32 run.
constexpr int64_t kFewColumns = 4;

// y = x W^T + b
template <typename V>
struct QuantizedLinear {
  Quantized<V> w;
  const float* bias;  // [rows], or null for zeros
  const float* x;     // [columns, cols]
  float* y;           // [columns, rows], written; overlaps no input
  int64_t columns;    // >= 1
  int threads;        // at most this many; the result has the same bits for any number
};

template <class Isa, typename V>
void quantized_linear(const QuantizedLinear<V>& args);

enum class QuantizedCell { kTanhRnn, kReluRnn, kLstm, kGru };

// The forward pass of rnn.h or gated.h, from the input's contributions.
template <typename V>
struct QuantizedSequence {
  Quantized<V> w;     // [gates * hidden x hidden]
  const float* bias;  // [gates * hidden], or null for zeros
  const float* x;     // [steps, batch, gates * hidden]
  const float* h0;    // [batch, hidden], or null for zeros
  const float* c0;    // [batch, hidden], or null for zeros; of the LSTM
  float* h;           // [steps, batch, hidden], written; what is written overlaps nothing
  float* c_n;         // [batch, hidden], the LSTM's last c, written
  int64_t steps;      // >= 1
  int64_t batch;      // >= 1
  QuantizedCell cell;
  float clip;  // of the LSTM, as in gated.h
  int threads;
  const bool* resets = nullptr;  // [steps, batch], as in rnn.h, or null
};

template <class Isa, typename V>
void quantized_sequence(const QuantizedSequence<V>& args);

// The slots that links need: fills ends [slices * groups + 1], and returns their number.
int64_t count_slots(const Csr& w, int64_t gates, int32_t* ends);

// Fills codes, places and scales, all of them zero before, of as many slots as `ends` says. An
// int8_t is scaled by the largest absolute value of its row, and a BFloat16 by 1. Indices of w are
// in range and sorted.
template <typename V>
void fill_slots(const Csr& w, const float* values, int64_t gates, const int32_t* ends, V* codes,
                uint8_t* places, float* scales);

// The way back. Counts the links whose code is not zero: fills ptr [rows + 1].
template <typename V>
void count_links(const Quantized<V>& w, int64_t* ptr);

// Fills idx and values [ptr[rows]].
template <typename V>
void fill_links(const Quantized<V>& w, const int64_t* ptr, int32_t* idx, float* values);

}  // namespace sparse_engine
