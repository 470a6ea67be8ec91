// quantize_links, dequantize_links, quantized_linear and quantized_sequence.
#include "sparse_engine/quantized.h"

#include <tuple>

#include "pattern.h"
#include "sequence.h"

namespace sparse_engine::bindings {
namespace {

// A weight as operations receive it: codes, places, ends and scales, as
// sparse_engine.ops.QuantizedLinks has them. They have to outlive it.
class Weight {
 public:
  static constexpr size_t kTensors = 4;

  Weight(const Tensors& tensors, int64_t cols, int64_t gates) : tensors_(tensors) {
    if (tensors.size() != kTensors)
      fail("expected the four tensors of quantized links, found ", tensors.size());
    const int64_t slots = codes().size(0), rows = scales().numel();
    if (gates < 1 || rows % gates != 0)
      fail("expected a number of gates that divides the ", rows, " rows, found ", gates);
    if (cols < 0 || cols >= int64_t{1} << 31)
      fail("expected in_features in [0, 2^31), found ", cols);
    if (slots >= int64_t{1} << 31) fail("expected fewer than 2^31 slots, found ", slots);
    if (!of_int8() && codes().scalar_type() != ScalarType::BFloat16)
      fail("expected codes of dtype int8 or bfloat16, found ", name_of(codes().scalar_type()));
    shape_ = {nullptr, nullptr, nullptr, nullptr, slots, rows, cols, gates};
    check(codes(), "codes", codes().scalar_type(), {slots, kSliceRows});
    check(tensors_[1], "places", ScalarType::Byte, {slots, kSliceRows});
    check(tensors_[2], "ends", ScalarType::Int, {shape_.slices() * shape_.groups() + 1});
    check(scales(), "scales", ScalarType::Float, {rows});
  }

  int64_t rows() const { return shape_.rows; }
  int64_t cols() const { return shape_.cols; }
  int64_t units() const { return shape_.units(); }
  bool of_int8() const { return codes().scalar_type() == ScalarType::Char; }

  template <typename V>
  Quantized<V> of() const {
    return {data<V>(codes()),
            data<uint8_t>(tensors_[1]),
            data<int32_t>(tensors_[2]),
            data<float>(scales()),
            shape_.slots,
            shape_.rows,
            shape_.cols,
            shape_.gates};
  }

  // body(weight), of int8_t or BFloat16.
  template <class Body>
  auto with_codes(const Body& body) const {
    return of_int8() ? body(of<int8_t>()) : body(of<BFloat16>());
  }

 private:
  const Tensor& codes() const { return tensors_[0]; }
  const Tensor& scales() const { return tensors_[3]; }

  static void check(const Tensor& t, const char* name, ScalarType type,
                    std::vector<int64_t> shape) {
    check_type(t, name, type);
    check_shape(t, name, std::move(shape));
    if (!t.is_contiguous()) fail("expected ", name, " to be contiguous");
  }

  const Tensors& tensors_;
  Quantized<int8_t> shape_;
};

// The links of a weight in float32.
class Unpacked {
 public:
  explicit Unpacked(const Weight& weight)
      : pointers_(Scratch::bytes_of<int64_t>(weight.rows() + 1)),
        ptr_(pointers_.take<int64_t>(weight.rows() + 1)),
        links_(bytes(weight)) {
    const int64_t nnz = ptr_[weight.rows()];
    int32_t* idx = links_.take<int32_t>(nnz);
    values_ = links_.take<float>(nnz);
    weight.with_codes([&](auto w) { fill_links(w, ptr_, idx, values_); });
    csr_ = {ptr_, idx, weight.rows(), weight.cols(), nnz};
  }

  const Csr& csr() const { return csr_; }
  const float* values() const { return values_; }

 private:
  // Called when the row pointers have memory, which it fills.
  size_t bytes(const Weight& weight) {
    weight.with_codes([&](auto w) { count_links(w, ptr_); });
    const int64_t nnz = ptr_[weight.rows()];
    return Scratch::bytes_of<int32_t>(nnz) + Scratch::bytes_of<float>(nnz);
  }

  Scratch pointers_;
  int64_t* ptr_;
  Scratch links_;
  float* values_;
  Csr csr_;
};

template <typename V>
std::tuple<Tensor, Tensor, Tensor, Tensor> quantized(const Csr& w, const Tensor& values,
                                                     int64_t gates, ScalarType type) {
  const Quantized<V> shape{nullptr, nullptr, nullptr, nullptr, 0, w.rows, w.cols, gates};
  Tensor ends = empty(values, {shape.slices() * shape.groups() + 1}, ScalarType::Int);
  const int64_t slots = count_slots(w, gates, mutable_data<int32_t>(ends));
  if (slots >= int64_t{1} << 31) fail("expected fewer than 2^31 slots, found ", slots);
  Tensor codes = empty(values, {slots, kSliceRows}, type);
  Tensor places = empty(values, {slots, kSliceRows}, ScalarType::Byte);
  Tensor scales = empty(values, {w.rows}, ScalarType::Float);
  torch::stable::zero_(codes), torch::stable::zero_(places);
  fill_slots(w, data<float>(values), gates, data<int32_t>(ends), mutable_data<V>(codes),
             mutable_data<uint8_t>(places), mutable_data<float>(scales));
  return {codes, places, ends, scales};
}

std::tuple<Tensor, Tensor, Tensor, Tensor> quantize_links(const Tensor& crow, const Tensor& col,
                                                          const Tensor& values, int64_t cols,
                                                          int64_t gates, bool int8) {
  const Given own = given(crow, col, cols);
  check_ends(own);
  const Tensor links = vector(values, "values", ScalarType::Float, own.csr.nnz());
  if (gates < 1 || own.csr.rows % gates != 0)
    fail("expected a number of gates that divides the ", own.csr.rows, " rows, found ", gates);
  const Links w(own, Check::kSorted);
  return int8 ? quantized<int8_t>(w.csr(), links, gates, ScalarType::Char)
              : quantized<BFloat16>(w.csr(), links, gates, ScalarType::BFloat16);
}

std::tuple<Tensor, Tensor, Tensor> dequantize_links(const Tensors& tensors, int64_t cols,
                                                    int64_t gates) {
  const Weight weight(tensors, cols, gates);
  const Tensor& like = tensors.back();
  Tensor crow = empty(like, {weight.rows() + 1}, ScalarType::Long);
  int64_t* ptr = mutable_data<int64_t>(crow);
  weight.with_codes([&](auto w) { count_links(w, ptr); });
  Tensor col = empty(like, {ptr[weight.rows()]}, ScalarType::Int);
  Tensor values = empty(like, {ptr[weight.rows()]}, ScalarType::Float);
  weight.with_codes(
      [&](auto w) { fill_links(w, ptr, mutable_data<int32_t>(col), mutable_data<float>(values)); });
  return {crow, col, values};
}

Tensor run_linear(const Tensor& x, const Tensors& tensors, int64_t gates, const Optional& bias) {
  if (x.dim() != 2) fail("expected x of shape [columns, in_features], found ", shape_of(x));
  const int64_t columns = x.size(0);
  const Weight weight(tensors, x.size(1), gates);
  check_type(x, "x", ScalarType::Float);
  const Tensor input = made_contiguous(x);
  const Optional offset = vector(bias, "bias", ScalarType::Float, weight.rows());
  Tensor y = empty(x, {columns, weight.rows()});
  if (y.numel() == 0) return y;
  float* to = mutable_data<float>(y);
  if (columns <= kFewColumns) {
    const auto run = [&](auto kernel, const auto& w) {
      kernel({w, data_or_null<float>(offset), data<float>(input), to, columns, threads()});
    };
    if (weight.of_int8())
      run(kernels<float>().quantized_linear_int8, weight.of<int8_t>());
    else
      run(kernels<float>().quantized_linear_bfloat16, weight.of<BFloat16>());
    return y;
  }
  const Unpacked w(weight);
  const Dense<const float> from{data<float>(input), 1, weight.cols()};
  kernels<float>().spmm({w.csr(),
                         w.values(),
                         nullptr,
                         data_or_null<float>(offset),
                         from,
                         {to, 1, weight.rows()},
                         columns,
                         threads()});
  return y;
}

// The same layer by the kernels of float32.
void run_unpacked(const Weight& weight, const QuantizedSequence<int8_t>& a,
                  const int64_t* first_row, int64_t gates) {
  const Unpacked w(weight);
  const auto& of = kernels<float>();
  const bool relu = a.cell == QuantizedCell::kReluRnn;
  if (relu || a.cell == QuantizedCell::kTanhRnn)
    return of.rnn_forward({w.csr(), w.values(), a.bias, a.x, nullptr, a.h0, a.h, first_row, a.steps,
                           a.batch, weight.units(), relu ? Activation::kRelu : Activation::kTanh,
                           a.threads, nullptr, a.resets});
  const GatedForward<float> gated{w.csr(), w.values(), a.bias,    a.x,     nullptr,
                                  nullptr, a.h0,       a.c0,      a.h,     a.c_n,
                                  nullptr, first_row,  a.steps,   a.batch, gates * weight.units(),
                                  {},      a.clip,     a.threads, nullptr, a.resets};
  (a.cell == QuantizedCell::kLstm ? of.lstm_forward : of.gru_forward)(gated);
}

std::tuple<Tensor, Tensor> run_sequence(const Tensor& x, const Optional& h0, const Optional& c0,
                                        const Optional& bias, const Tensors& tensors,
                                        int64_t in_features, const Optional& batch_sizes,
                                        int64_t cell, std::optional<double> clip,
                                        const Optional& resets) {
  constexpr int64_t kGates[] = {1, 1, 4, 3};
  if (cell < 0 || cell > 3) fail("expected a cell in [0, 4), found ", cell);
  const int64_t gates = kGates[cell];
  const auto kind = static_cast<QuantizedCell>(cell);
  const bool has_memory = kind == QuantizedCell::kLstm;
  const Weight weight(tensors, in_features, gates);
  const int64_t hidden = weight.units(), rows = weight.rows();
  if (hidden != in_features)
    fail("expected a recurrent weight of ", gates, " gates, ", gates * in_features, " x ",
         in_features, ", found ", rows, " x ", in_features);
  if (has_memory)
    check_both(h0, c0);
  else if (c0 || clip)
    fail("expected neither c0 nor a clip for a cell that carries no c, found one");
  const Optional offset = vector(bias, "bias", ScalarType::Float, rows);
  const Layout layout(x, "x", batch_sizes, rows);
  const Tensor input = layout(x, "x", ScalarType::Float, rows);
  if (layout.steps == 0) fail("expected x of at least one time step, found none");
  const int64_t batch = layout.batch;
  const Optional first_h = state(h0, "h0", ScalarType::Float, batch, hidden);
  const Optional first_c = state(c0, "c0", ScalarType::Float, batch, hidden);
  const Optional begins = resets_of(resets, layout.steps, batch, batch_sizes);
  Result<float> h(input, layout.shape(hidden)), c_n(input, {batch, hidden}, has_memory);
  if (batch == 0 || hidden == 0) {
    c_n.clear();
    return {h.tensor(), c_n.tensor()};
  }
  const auto argument = [&](const auto& w) {
    using V = std::remove_const_t<std::remove_pointer_t<decltype(w.codes)>>;
    return QuantizedSequence<V>{w,
                                data_or_null<float>(offset),
                                data<float>(input),
                                data_or_null<float>(first_h),
                                data_or_null<float>(first_c),
                                h.data(),
                                c_n.data(),
                                layout.steps,
                                batch,
                                kind,
                                static_cast<float>(bound(clip)),
                                threads(),
                                data_or_null<bool>(begins)};
  };
  if (batch > kFewColumns || layout.first_row())
    run_unpacked(weight, argument(Quantized<int8_t>{}), layout.first_row(), gates);
  else if (weight.of_int8())
    kernels<float>().quantized_sequence_int8(argument(weight.of<int8_t>()));
  else
    kernels<float>().quantized_sequence_bfloat16(argument(weight.of<BFloat16>()));
  return {h.tensor(), c_n.tensor()};
}

}  // namespace

SPARSE_ENGINE_CPU_OPERATION("quantize_links", quantize_links,
                            "(Tensor crow, Tensor col, Tensor values, int in_features, int gates, "
                            "bool int8) -> (Tensor codes, Tensor places, Tensor ends, "
                            "Tensor scales)")
SPARSE_ENGINE_CPU_OPERATION("dequantize_links", dequantize_links,
                            "(Tensor[] links, int in_features, int gates) -> "
                            "(Tensor crow, Tensor col, Tensor values)")
SPARSE_ENGINE_CPU_OPERATION("quantized_linear", run_linear,
                            "(Tensor x, Tensor[] links, int gates, Tensor? bias) -> Tensor")
SPARSE_ENGINE_CPU_OPERATION("quantized_sequence", run_sequence,
                            "(Tensor x, Tensor? h0, Tensor? c0, Tensor? bias, Tensor[] links, "
                            "int in_features, Tensor? batch_sizes, int cell, float? clip, "
                            "Tensor? resets=None) -> "
                            "(Tensor h, Tensor c_n)")

}  // namespace sparse_engine::bindings
