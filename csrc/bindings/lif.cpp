// lif_forward, lif_backward and lif_simulate.
#include <tuple>

#include "runtime/links.h"
#include "sequence.h"

namespace sparse_engine::bindings {
namespace {

using Numbers = std::vector<double>;

LifUnit unit_of(const Numbers& numbers, int64_t refractory, bool alpha, bool keeps_current,
                int64_t surrogate) {
  if (numbers.size() != 8) fail("expected eight numbers of a unit, found ", numbers.size());
  if (refractory < 0) fail("expected refractory of at least 0, found ", refractory);
  if (surrogate < 0 || surrogate > 2) fail("expected surrogate in [0, 3), found ", surrogate);
  return {numbers[0], numbers[1], numbers[2],    numbers[3],
          numbers[4], numbers[5], numbers[6],    static_cast<double>(refractory),
          numbers[7], alpha,      keeps_current, static_cast<Surrogate>(surrogate)};
}

// The states of some steps, or several states, made contiguous.
Optional states(const Optional& t, const char* name, ScalarType type, int64_t count, int64_t batch,
                int64_t units) {
  if (!t) return std::nullopt;
  check_type(*t, name, type);
  check_shape(*t, name, {count, batch, units});
  return made_contiguous(*t);
}

// Calls body(T{}, kernels) for the dtype of the values.
template <class Body>
auto with_reals(const Tensor& values, const Body& body) {
  return with_activations(values, values, [&](auto real, auto, const auto&) {
    using T = decltype(real);
    return body(T{}, kernels<T>());
  });
}

int64_t checked_delay(int64_t delay) {
  constexpr int64_t kMost = 1 << 20;  // the spikes of as many steps are kept
  if (delay < 1 || delay > kMost) fail("expected delay in [1, ", kMost, "], found ", delay);
  return delay;
}

std::tuple<Tensor, Tensor, Tensor, Tensor> forward(const Tensor& x, const Optional& past,
                                                   const Optional& state, const Optional& rests,
                                                   const Optional& bias, const Tensor& values,
                                                   const Tensors& links, Numbers numbers,
                                                   int64_t delay, int64_t refractory, bool alpha,
                                                   bool keeps_current, int64_t surrogate,
                                                   bool keep) {
  const Pattern pattern(links);
  check_square(pattern);
  const LifUnit unit = unit_of(numbers, refractory, alpha, keeps_current, surrogate);
  checked_delay(delay);
  return with_reals(values, [&](auto real, const auto& kernels) {
    using T = decltype(real);
    const int64_t units = pattern.rows();
    const Tensor weights = vector(values, "values", kType<T>, pattern.nnz());
    const Optional offset = vector(bias, "bias", kType<T>, units);
    const Layout layout(x, "x", std::nullopt, units);
    const int64_t steps = layout.steps, batch = layout.batch, count = unit.states();
    if (steps == 0) fail("expected x of at least one time step, found none");
    const Tensor input = layout(x, "x", kType<T>, units);
    const Optional before = states(past, "past", kType<T>, delay, batch, units);
    const Optional start = states(state, "state", kType<T>, count, batch, units);
    const Optional resting = bindings::state(rests, "rests", kType<T>, batch, units);
    const Tensor z = empty(input, layout.shape(units));
    Result<T> u(weights, layout.shape(units), keep);
    Result<T> state_n(weights, {count, batch, units}),
        rests_n(weights, {batch, units}, unit.rests());
    if (z.numel() > 0) {
      const Links w = pattern.links(), wt = pattern.transposed();
      Tensor written = z;
      kernels.lif_forward({w.csr(), wt.csr(), pattern.order(), data<T>(weights),
                           data_or_null<T>(offset), data<T>(input), data_or_null<T>(before),
                           data_or_null<T>(start), data_or_null<T>(resting),
                           mutable_data<T>(written), u.data(), state_n.data(), rests_n.data(),
                           steps, batch, delay, unit, threads()});
    }
    return std::tuple(z, u.tensor(), state_n.tensor(), rests_n.tensor());
  });
}

using Gradients = std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor>;

Gradients backward(const Tensor& dh, const Optional& dstate_n, const Tensor& h, const Tensor& u,
                   const Optional& past, const Optional& rests, const Tensor& values,
                   const Tensors& links, Numbers numbers, int64_t delay, int64_t refractory,
                   bool alpha, bool keeps_current, int64_t surrogate, bool wants_x, bool wants_past,
                   bool wants_state, bool wants_values) {
  const Pattern pattern(links);
  check_square(pattern);
  const LifUnit unit = unit_of(numbers, refractory, alpha, keeps_current, surrogate);
  checked_delay(delay);
  return with_reals(values, [&](auto real, const auto& kernels) {
    using T = decltype(real);
    const int64_t units = pattern.rows(), nnz = pattern.nnz();
    const Tensor weights = vector(values, "values", kType<T>, nnz);
    const Layout layout(h, "h", std::nullopt, units);
    const int64_t steps = layout.steps, batch = layout.batch, count = unit.states();
    const Tensor spikes = layout(h, "h", kType<T>, units), above = layout(u, "u", kType<T>, units),
                 gradient = layout(dh, "dh", kType<T>, units);
    const Optional before = states(past, "past", kType<T>, delay, batch, units);
    const Optional resting = bindings::state(rests, "rests", kType<T>, batch, units);
    const Optional after = states(dstate_n, "dstate_n", kType<T>, count, batch, units);
    Result<T> dx(weights, layout.shape(units), wants_x);
    Result<T> dpast(weights, {delay, batch, units}, wants_past && before);
    Result<T> dstate(weights, {count, batch, units}, wants_state);
    Result<T> dbias(weights, {units}), dvalues(weights, {nnz}, wants_values);
    if (spikes.numel() > 0) {
      const Links w = pattern.links(), wt = pattern.transposed();
      kernels.lif_backward({w.csr(),
                            wt.csr(),
                            pattern.order(),
                            data<T>(weights),
                            data<T>(spikes),
                            data<T>(above),
                            data_or_null<T>(before),
                            data_or_null<T>(resting),
                            data<T>(gradient),
                            data_or_null<T>(after),
                            dx.data(),
                            dpast.data(),
                            dstate.data(),
                            dbias.data(),
                            dvalues.data(),
                            steps,
                            batch,
                            delay,
                            unit,
                            threads()});
    } else {
      clear(dpast, dstate, dbias, dvalues);
    }
    return Gradients(dx.tensor(), dpast.tensor(), dstate.tensor(), dbias.tensor(),
                     dvalues.tensor());
  });
}

// The states are written in place.
std::tuple<Tensor, Tensor> simulate(const Tensor& values, const Tensors& links,
                                    const Tensor& first_event, const Tensor& event_unit,
                                    const Tensor& event_size, const Optional& refractories,
                                    Tensor past, Tensor state, Tensor rests, Numbers numbers,
                                    int64_t delay, int64_t refractory, bool alpha,
                                    bool keeps_current) {
  const Pattern pattern(links);
  check_square(pattern);
  LifUnit unit = unit_of(numbers, refractory, alpha, keeps_current, 0);
  if (refractories) unit.refractory = std::max(unit.refractory, 1.0);  // each unit has its own
  checked_delay(delay);
  return with_reals(values, [&](auto real, const auto& kernels) {
    using T = decltype(real);
    const int64_t units = pattern.rows(), steps = first_event.numel() - 1;
    const int64_t events = event_unit.numel();
    if (steps < 1) fail("expected at least one time step, found ", steps);
    const Tensor weights = vector(values, "values", kType<T>, pattern.nnz());
    const Tensor at = vector(first_event, "first_event", ScalarType::Long, steps + 1);
    const Tensor to = vector(event_unit, "event_unit", ScalarType::Int, events);
    const Tensor size = vector(event_size, "event_size", kType<T>, events);
    const Optional resting = vector(refractories, "refractories", kType<T>, units);
    const int64_t* first = data<int64_t>(at);
    if (first[0] != 0 || first[steps] != events)
      fail("expected first_event to run from 0 to ", events, ", found ", first[0], " to ",
           first[steps]);
    for (int64_t t = 0; t < steps; ++t)
      if (first[t] > first[t + 1])
        fail("expected first_event that never decreases, found ", first[t + 1], " at position ",
             t + 1);
    Links::check_range(data<int32_t>(to), events, "event_unit", units);
    for (const auto& [tensor, name, count] :
         {std::tuple(&past, "past", delay), std::tuple(&state, "state", int64_t{unit.states()}),
          std::tuple(&rests, "rests", int64_t{1})}) {
      check_type(*tensor, name, kType<T>);
      check_shape(*tensor, name, {count, units});
      if (!tensor->is_contiguous()) fail("expected ", name, " to be contiguous");
    }
    std::vector<int64_t> first_spike(steps + 1);
    std::vector<int32_t> spikes;
    if (units > 0) {
      const Links wt = pattern.transposed();
      Tensor ordered = empty(weights, {pattern.nnz()});
      const int32_t* order = pattern.order();
      T* to_order = mutable_data<T>(ordered);
      for (int64_t p = 0; p < pattern.nnz(); ++p) to_order[p] = data<T>(weights)[order[p]];
      kernels.lif_simulate({wt.csr(), data<T>(ordered), first, data<int32_t>(to), data<T>(size),
                            data_or_null<T>(resting), mutable_data<T>(past), mutable_data<T>(state),
                            mutable_data<T>(rests), steps, delay, unit, threads(), &first_spike,
                            &spikes});
    }
    Tensor found = empty(weights, {static_cast<int64_t>(spikes.size())}, ScalarType::Int);
    Tensor where = empty(weights, {steps + 1}, ScalarType::Long);
    std::copy(spikes.begin(), spikes.end(), mutable_data<int32_t>(found));
    std::copy(first_spike.begin(), first_spike.end(), mutable_data<int64_t>(where));
    return std::tuple(where, found);
  });
}

}  // namespace

SPARSE_ENGINE_CPU_OPERATION("lif_forward", forward,
                            "(Tensor x, Tensor? past, Tensor? state, Tensor? rests, Tensor? bias, "
                            "Tensor values, Tensor[] pattern, float[] numbers, int delay, "
                            "int refractory, bool alpha, bool keeps_current, int surrogate, "
                            "bool keep) -> (Tensor h, Tensor u, Tensor state_n, Tensor rests_n)")
SPARSE_ENGINE_CPU_OPERATION(
    "lif_backward", backward,
    "(Tensor dh, Tensor? dstate_n, Tensor h, Tensor u, Tensor? past, Tensor? rests, "
    "Tensor values, Tensor[] pattern, float[] numbers, int delay, int refractory, bool alpha, "
    "bool keeps_current, int surrogate, bool wants_x, bool wants_past, bool wants_state, "
    "bool wants_values) -> "
    "(Tensor dx, Tensor dpast, Tensor dstate, Tensor dbias, Tensor dvalues)")
SPARSE_ENGINE_CPU_OPERATION("lif_simulate", simulate,
                            "(Tensor values, Tensor[] pattern, Tensor first_event, "
                            "Tensor event_unit, Tensor event_size, Tensor? refractories, "
                            "Tensor(a!) past, Tensor(b!) state, Tensor(c!) rests, "
                            "float[] numbers, int delay, int refractory, bool alpha, "
                            "bool keeps_current) -> (Tensor first_spike, Tensor spikes)")

}  // namespace sparse_engine::bindings
