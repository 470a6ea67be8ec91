#include "sparse_engine/influence.h"

#include <algorithm>

#include "products/row_product.h"
#include "runtime/kept.h"
#include "runtime/memory.h"
#include "runtime/panel.h"
#include "sparse_engine/instruction_sets.h"

namespace sparse_engine {
namespace {

constexpr int W = kInfluenceColumns;

// P panels of one lane that follow each other, of S states. Threads share panels, so that nothing
// is exchanged. Links from units that no entry has reached, as at the start of an episode or where
// a ReLU rests, are skipped.
template <typename T, typename A, int S, int P>
class InfluencePanels {
 public:
  InfluencePanels(const Influence<T, A>& a, int64_t lane, int64_t panel, T* source, bool* reached)
      : a_(a),
        n_(a.units),
        of_source_(a.of_source + lane * S * n_),
        of_state_(a.of_state + lane * S * S * n_),
        of_product_(a.of_product + lane * S * a.gates * n_),
        immediate_(a.immediate + (lane * S * a.panels + panel) * W),
        unit_(a.unit + panel * W),
        upstream_(a.upstream ? a.upstream + lane * n_ : nullptr),
        j_(a.influence + (lane * a.panels + panel) * S * n_ * W),
        gradient_(a.gradient ? a.gradient + (lane * a.panels + panel) * W : nullptr),
        source_(source),
        reached_(reached) {}

  void advance() const {
    int64_t reached = 0;
    for (int64_t i = 0; i < n_; ++i) reached += reached_[i] = write_source(i);
    Vec<T, L> gradient[NV] = {};
    if (4 * reached < 3 * n_)
      for (int64_t i = 0; i < n_; ++i) advance_unit<true>(i, gradient);
    else
      for (int64_t i = 0; i < n_; ++i) advance_unit<false>(i, gradient);
    for (int s = 0; s < S; ++s)
      for (int e = 0; e < P * W; ++e) {
        A* own = at(s, unit_[e], e);
        store<T, 1>(own, load<T, 1>(own) + immediate_[s * a_.panels * W + e]);
      }
    if (!gradient_) return;
    for (int v = 0; v < NV; ++v) store<T, L>(gradient_ + v * L, gradient[v]);
    for (int e = 0; e < P * W; ++e) gradient_[e] += upstream_[unit_[e]] * immediate_[e];
  }

 private:
  static constexpr int L = kLanes<T>, NV = P * W / L;
  using Bits = Vec<std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>, L>;

  A* at(int64_t state, int64_t unit, int column) const {
    return j_ + ((column / W * S + state) * n_ + unit) * W + column % W;
  }

  // Returns whether any entry has an influence on what the unit sends.
  SE_INLINE bool write_source(int64_t i) const {
    Bits any{}, bits;
    for (int v = 0; v < NV; ++v) {
      Vec<T, L> sum{};
      for (int s = 0; s < S; ++s) sum += load<T, L>(at(s, i, v * L)) * of_source_[s * n_ + i];
      store<T, L>(source_ + i * P * W + v * L, sum);
      std::memcpy(&bits, &sum, sizeof bits);
      any |= bits;
    }
    any += any;  // no sign: that of zero says nothing
    uint64_t words[sizeof any / 8], found = 0;
    std::memcpy(words, &any, sizeof any);
    for (const uint64_t word : words) found |= word;
    return found != 0;
  }

  template <bool kSkips>
  SE_INLINE void advance_unit(int64_t i, Vec<T, L> (&gradient)[NV]) const {
    Vec<T, L> next[S][NV] = {};
    for (int t = 0; t < S; ++t)
      for (int s = 0; s < S; ++s) {
        const T slope = of_state_[(t * S + s) * n_ + i];
        if (slope == 0) continue;  // as for cells that keep nothing of a state
        for (int v = 0; v < NV; ++v) next[t][v] += load<T, L>(at(s, i, v * L)) * slope;
      }
    for (int64_t g = 0; g < a_.gates; ++g) {
      bool reads = false;  // not where a ReLU rests
      for (int t = 0; t < S; ++t) reads |= of_product_[(t * a_.gates + g) * n_ + i] != 0;
      if (!reads) continue;
      Vec<T, L> sum[NV] = {};
      multiply<kSkips>(g * n_ + i, sum);
      for (int t = 0; t < S; ++t)
        for (int v = 0; v < NV; ++v)
          next[t][v] += sum[v] * of_product_[(t * a_.gates + g) * n_ + i];
    }
    for (int t = 0; t < S; ++t)
      for (int v = 0; v < NV; ++v) store<T, L>(at(t, i, v * L), next[t][v]);
    if (gradient_)
      for (int v = 0; v < NV; ++v) gradient[v] += next[0][v] * upstream_[i];
  }

  // Eight sums are in flight at once, as each waits for the one before.
  template <bool kSkips>
  SE_INLINE void multiply(int64_t row, Vec<T, L> (&sum)[NV]) const {
    constexpr int kTogether = NV < 8 && !kSkips ? 2 : 1;
    Vec<T, L> other[NV] = {};
    int64_t p = a_.w.ptr[row];
    const int64_t end = a_.w.ptr[row + 1];
    for (; p + kTogether <= end; p += kTogether) {
      if (kSkips && !reached_[a_.w.idx[p]]) continue;
      add_link<T, L, NV>(sum, a_.values[p], a_.w.idx[p], source_);
      if (kTogether == 2) add_link<T, L, NV>(other, a_.values[p + 1], a_.w.idx[p + 1], source_);
    }
    if (kTogether == 1) return;
    if (p < end) add_link<T, L, NV>(sum, a_.values[p], a_.w.idx[p], source_);
    for (int v = 0; v < NV; ++v) sum[v] += other[v];
  }

  const Influence<T, A>& a_;
  const int64_t n_;
  const T *of_source_, *of_state_, *of_product_, *immediate_;
  const int32_t* unit_;
  const T* upstream_;
  A* j_;
  T *gradient_, *source_;
  bool* reached_;
};

// Panels that are carried over together, as far as registers and the second-level cache hold them:
// each row of W is then walked once for all.
template <typename T>
constexpr int kMost = std::max(1, 8 * kLanes<T> / W);

template <typename T, typename A, int S>
void advance_panels(const Influence<T, A>& a) {
  constexpr int P = kMost<T>;
  const int64_t row = P * W * static_cast<int64_t>(S * sizeof(A) + sizeof(T));
  const bool fit = row * a.units <= l2_bytes();
  const int64_t each = fit ? P : 1, groups = (a.panels + each - 1) / each;
  const int64_t count = a.lanes * groups;
  const int most = static_cast<int>(std::min<int64_t>(a.threads, std::max<int64_t>(1, count)));
  const Job job = job_of_region(most, (a.w.nnz() + S * a.units) * W * a.lanes * a.panels);
  Scratch scratch(Scratch::bytes_of<T>(job.threads * a.units * each * W) +
                  Scratch::bytes_of<bool>(job.threads * a.units));
  T* sources = scratch.take<T>(job.threads * a.units * each * W);
  bool* all_reached = scratch.take<bool>(job.threads * a.units);
  run_team(job, [&](const Team& team) {
    T* source = sources + team.rank * a.units * each * W;
    bool* reached = all_reached + team.rank * a.units;
    for (int64_t q = team.first(count); q < team.last(count); ++q) {
      const int64_t lane = q / groups, panel = q % groups * each;
      if (each == P && panel + P <= a.panels)
        InfluencePanels<T, A, S, P>(a, lane, panel, source, reached).advance();
      else
        InfluencePanels<T, A, S, 1>(a, lane, panel, source, reached).advance();
    }
  });
}

}  // namespace

template <class Isa, typename T, typename A>
void influence(const Influence<T, A>& a) {
  a.states == 1 ? advance_panels<T, A, 1>(a) : advance_panels<T, A, 2>(a);
}

template void influence<SPARSE_ENGINE_ISA>(
    const Influence<SPARSE_ENGINE_REAL, SPARSE_ENGINE_KEPT>&);

}  // namespace sparse_engine
