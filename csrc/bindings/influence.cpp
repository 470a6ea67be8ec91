// influence.
#include "sparse_engine/influence.h"

#include "pattern.h"

namespace sparse_engine::bindings {
namespace {

template <typename T>
const T* read(const Tensor& t, const char* name, const std::vector<int64_t>& shape) {
  check_type(t, name, kType<T>);
  check_shape(t, name, shape);
  if (!t.is_contiguous()) fail("expected ", name, " to be contiguous");
  return data<T>(t);
}

// Carries the influence over a step in place; returns the gradient of every lane, or nothing.
Tensor advance(Tensor influence, const Tensor& values, const Tensors& links,
               const Tensor& of_source, const Tensor& of_state, const Tensor& of_product,
               const Tensor& immediate, const Tensor& unit, const Optional& upstream) {
  constexpr int64_t kColumns = kInfluenceColumns;
  const Pattern pattern(links);
  if (influence.dim() != 5)
    fail("expected influence of shape [lanes, panels, states, units, ", kColumns, "], found ",
         shape_of(influence));
  const int64_t lanes = influence.size(0), panels = influence.size(1);
  const int64_t states = influence.size(2), units = pattern.cols();
  if (states < 1 || states > 2) fail("expected one or two states, found ", states);
  if (units == 0 || pattern.rows() % units != 0)
    fail("expected rows in blocks of ", units, " units, found ", pattern.rows());
  const int64_t gates = pattern.rows() / units, entries = panels * kColumns;
  return with_activations(values, influence, [&](auto zero, auto kept, const auto& of) {
    using T = decltype(zero);
    using A = decltype(kept);
    read<A>(influence, "influence", {lanes, panels, states, units, kColumns});
    const Tensor weights = vector(values, "values", kType<T>, pattern.nnz());
    check_indices(unit, "unit", ScalarType::Int, entries);
    Links::check_range(data<int32_t>(unit), entries, "unit", units);
    const Links w = pattern.links();
    const bool wanted = upstream.has_value();
    Result<T> gradient(values, {lanes, entries}, wanted);
    of.influence({w.csr(), data<T>(weights),
                  read<T>(of_source, "of_source", {lanes, states, units}),
                  read<T>(of_state, "of_state", {lanes, states, states, units}),
                  read<T>(of_product, "of_product", {lanes, states, gates, units}),
                  read<T>(immediate, "immediate", {lanes, states, entries}), data<int32_t>(unit),
                  wanted ? read<T>(*upstream, "upstream", {lanes, units}) : nullptr,
                  mutable_data<A>(influence), gradient.data(), lanes, panels, states, units, gates,
                  threads()});
    return gradient.tensor();
  });
}

}  // namespace

SPARSE_ENGINE_CPU_OPERATION(
    "influence", advance,
    "(Tensor(a!) influence, Tensor values, Tensor[] pattern, Tensor of_source, "
    "Tensor of_state, Tensor of_product, Tensor immediate, Tensor unit, "
    "Tensor? upstream) -> Tensor")

}  // namespace sparse_engine::bindings
