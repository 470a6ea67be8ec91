#include "sparse_engine/rnn.h"

#include "cells/rnn.h"
#include "products/input_gradient.h"
#include "products/projection.h"
#include "products/row_groups.h"
#include "runtime/activation.h"
#include "sequences/initial_gradient.h"
#include "sparse_engine/instruction_sets.h"

namespace sparse_engine {
namespace {

// Calls body(cell). A row of a narrow panel takes so little time that choosing its activation again
// would be noticed.
template <int W, class Body>
void with_cell(Activation activation, const Body& body) {
  if constexpr (W > 16)
    body(Elman{activation});
  else if (activation == Activation::kRelu)
    body(ElmanOf<AtCompileTime<Activation::kRelu>>());
  else
    body(ElmanOf<AtCompileTime<Activation::kTanh>>());
}

// The states of `count` units of a batch of one from their sums: lanes over the units.
template <class Cell, typename T, typename A>
inline void activate(const Cell& cell, const T* sums, int count, A* states) {
  constexpr int K = kLanes<T>;
  for (int r = 0; r < count; r += K) {
    const Vec<T, K> sum = load_first<T, K>(sums + r, count - r);
    store_first<T, K>(states + r, cell.template forward<VectorMath<T, K>>(sum), count - r);
  }
}

// How a pass goes through its columns: panels, the threads that take part, and the parts that have
// a team each.
struct Plan {
  Panels panels;
  int threads;
  int parts;
};

template <int L, int NV, class Cell, typename T, typename A>
void forward(const RnnForward<T, A>& a, const Plan& plan, const Cell& cell) {
  constexpr int W = L * NV;
  using Product = GroupedProduct<T, L, NV>;
  const int64_t first_product = a.h0 ? 0 : 1;
  const int64_t hidden = a.w.rows, packed_inputs = a.w_input ? a.inputs : 0;
  const int64_t panels = plan.panels.count;
  const int threads = plan.threads;
  const Sequence<T, W> whole{a.batch, panels, a.steps, a.first_row, a.resets};
  Parts parts(plan.parts);
  // Where the state is rounded, a member has a tile of its own for what is not.
  constexpr int64_t kOwn = std::is_same_v<T, A> ? 0 : kTileRows * W;
  const typename Product::Use use{a.steps * panels, threads};
  Scratch scratch(Ring<A, W>::bytes(2, hidden, panels) +
                  Ring<A, W>::bytes(2, packed_inputs, panels) +
                  Scratch::bytes_of<T>(threads * kOwn) + Product::template bytes<A>(a.w, use));
  const Ring<A, W> h(scratch, 2, hidden, panels);
  const Ring<A, W> x(scratch, 2, packed_inputs, panels);
  T* tiles = scratch.take<T>(threads * kOwn);
  const Product w =
      Product::template make<A>({a.w, {a.values}, prefetch_of<A, W>(a.w)}, use, scratch);

  const auto go_through = [&](const Sequence<T, W>& seq, const Team& team, T* own) {
    const Rows rows = rows_of(a.w, team.rank, team.size, kBlock, kLinksPerGate);
    const typename Product::Share product(w, team.rank, rows);
    bool fine = product.fine();  // all links that were looked at may be followed
    if (a.h0)
      seq.tiles(rows, [&](int64_t q, int64_t first, int count) {
        read_initial(seq, a.h0, h.at(-1), q, first, count);
        seq.set_back(0, q, count, h.at(-1).row(q, first));
      });
    if (a.w_input) seq.pack_step(team, a.x, 0, x.at(0));
    team.barrier();
    for (int64_t t = 0; t < a.steps; ++t) {
      const State<A, W> before = h.at(t - 1), now = h.at(t), input = x.at(t);
      if (a.w_input && t + 1 < a.steps) seq.pack_step(team, a.x, t + 1, x.at(t + 1));
      seq.tiles(rows, t, [&](int64_t q, int64_t first, int count) {
        const int columns = seq.columns(q, t);
        T* tile = computed_in<T>(now.row(q, first), own);
        const T* bias = a.bias ? a.bias + first : nullptr;
        if (a.w_input) {
          project<T, L, NV>(a.w_input + first * a.inputs, a.inputs, bias, count, input.panel(q),
                            tile);
        } else {
          const Dense<const A> z = seq.step(a.x, hidden, t, q);
          read_tile<T, W>(z, first, count, columns, tile);
          if (bias) add_to_rows<T, L, NV>(bias, count, tile);
        }
        if (t == first_product) fine = fine && rows_in_range(a.w, first, count);
        const bool multiplies = t >= first_product && fine;
        if constexpr (W == 1) {
          if (multiplies) product.rows(first, count, before.panel(q), tile);
          activate(cell, tile, count, now.row(q, first));
        } else {
          for (int r = 0; r < count; ++r) {
            Vec<T, L> sum[NV];
            for (int v = 0; v < NV; ++v) sum[v] = load<T, L>(tile + r * W + v * L);
            if (multiplies) product(sum, first + r, before.panel(q));
            for (int v = 0; v < NV; ++v) sum[v] = cell.template forward<VectorMath<T, L>>(sum[v]);
            store_row<T, L>(now.row(q, first + r), sum);
          }
        }
        write_tile<T, W>(now.row(q, first), seq.step(a.h, hidden, t, q), first, count, columns);
        seq.set_back(t + 1, q, count, now.row(q, first));
      });
      team.barrier();
    }
    if (!fine) report(a.out_of_range);
  };
  run_team(threads, [&](const Team& all) {
    parts.each(all, [&](int part, const Team& team) {
      go_through(whole.part(part, parts.count()), team, tiles + all.rank * kOwn);
    });
  });
}

template <int L, int NV, class Cell, typename T, typename A>
void backward(const RnnBackward<T, A>& a, const Plan& plan, const Cell& cell) {
  using Back = Adjoint<T, L, NV, A>;
  constexpr int W = L * NV;
  const int64_t hidden = a.w.rows, nnz = a.w.nnz();
  const int64_t panels = plan.panels.count;
  const int threads = plan.threads;
  const Sequence<T, W> whole{a.batch, panels, a.steps, a.first_row, a.resets};
  Parts parts(plan.parts);
  const DenseInput<T, A> input{a.x,     a.dw_input, hidden,       a.dw_input ? a.inputs : 0,
                               a.batch, threads,    parts.count()};
  constexpr int64_t kOwn = kTileRows * W;
  Scratch scratch(Ring<A, W>::bytes(2, hidden, panels) + Ring<A, W>::bytes(1, hidden, panels) +
                  Scratch::bytes_of<T>(Back::needs(a.wt, parts.count())) +
                  Scratch::bytes_of<T>(parts.count() * hidden * L) +
                  Scratch::bytes_of<T>(threads * kOwn) + InputGradient<T, A>::bytes(input));
  const Ring<A, W> dz(scratch, 2, hidden, panels);
  const State<A, W> state = Ring<A, W>(scratch, 1, hidden, panels).at(0);
  const Back whole_back(a.wt, a.permutation, a.dvalues,
                        scratch.take<T>(Back::needs(a.wt, parts.count())), nnz, parts.count());
  T* bias_sums = scratch.take<T>(parts.count() * hidden * L);
  T* tiles = scratch.take<T>(threads * kOwn);
  const InputGradient<T, A> input_gradient(input, scratch);

  const auto go_through = [&](int part, const Team& team, int member) {
    const Sequence<T, W> seq = whole.part(part, parts.count());
    const Back back = whole_back.of_part(part);
    const Rows rows = rows_of(a.wt, team.rank, team.size, kBlock, kLinksPerGate);
    T *own = tiles + member * kOwn, *own_bias = bias_sums + part * hidden * L;
    const auto read_state = [&](const A* from, int64_t t, int64_t q, int64_t first, int count) {
      read_tile<T, W>(seq.step(from, hidden, t, q), first, count, seq.columns(q, t),
                      state.row(q, first));
    };
    for (int64_t t = a.steps - 1; t >= 0; --t) {
      const State<A, W> later = dz.at(t + 1), now = dz.at(t);
      const T* x = input_gradient.step(member, seq.row(t), seq.first_panel * W,
                                       std::min(seq.running(t), seq.panels * W));
      seq.tiles(rows, t, [&](int64_t q, int64_t first, int count) {
        const int columns = seq.columns(q, t);
        const bool ends = seq.columns(q, t + 1) == 0;
        read_state(a.h, t, q, first, count);
        const Dense<const A> from = seq.step(a.dh, hidden, t, q);
        T* tile = computed_in<T>(now.row(q, first), own);
        read_tile<T, W>(from, first, count, columns, tile);
        typename Back::Visits visit(back, first);
        for (int r = 0; r < count; ++r) {
          Vec<T, L> sum[NV], y[NV];
          for (int v = 0; v < NV; ++v) sum[v] = load<T, L>(tile + r * W + v * L);
          if (!ends) visit(sum, first + r, later.panel(q), state.row(q, first + r));
          T* bias_sum = own_bias + (first + r) * L;
          Vec<T, L> over_batch = load<T, L>(bias_sum);
          load_row<T, L>(state.row(q, first + r), y);
          for (int v = 0; v < NV; ++v) {
            sum[v] = cell.template backward<VectorMath<T, L>>(y[v], sum[v]);
            store<T, L>(tile + r * W + v * L, sum[v]);
            over_batch += sum[v];
          }
          store<T, L>(bias_sum, over_batch);
          if (!std::is_same_v<T, A>) store_row<T, L>(now.row(q, first + r), sum);
        }
        input_gradient.add(tile, W, first, count, columns, x, q * W, part);
        if (a.dz) write_tile<T, W>(tile, seq.step(a.dz, hidden, t, q), first, count, columns);
        seq.set_back(t, q, count, now.row(q, first));
      });
      team.barrier();
    }
    if (a.dh0) {
      seq.tiles(rows,
                [&](int64_t q, int64_t first, int count) { read_state(a.h0, 0, q, first, count); });
      write_initial_gradient(back, seq, rows, hidden, own, a.dh0,
                             [&](auto& visit, int64_t q, int64_t row, Vec<T, L>(&sum)[NV]) {
                               visit(sum, row, dz.at(0).panel(q), state.row(q, row));
                             });
    }
  };
  run_team(threads, [&](const Team& all) {
    const Rows rows = rows_of(a.wt, all.rank, all.size, kBlock, kLinksPerGate);
    whole_back.start(all, a.values, rows);
    for (int part = 0; part < parts.count(); ++part) {
      T* sums = bias_sums + part * hidden * L;
      std::fill(sums + rows.first * L, sums + rows.last * L, T(0));
    }
    input_gradient.clear(rows);
    all.barrier();
    parts.each(all, [&](int part, const Team& team) { go_through(part, team, all.rank); });
    all.barrier();
    input_gradient.finish(rows);
    for (int64_t row = rows.first; row < rows.last; ++row) {
      a.dbias[row] = sum_of_lanes<T, L>(load<T, L>(bias_sums + row * L));
      for (int part = 1; part < parts.count(); ++part)
        a.dbias[row] += sum_of_lanes<T, L>(load<T, L>(bias_sums + (part * hidden + row) * L));
    }
    whole_back.finish(rows);
  });
}

// Calls body(Int<lanes>, Int<vectors>, cell) for the panels of a plan.
template <typename T, typename A, class Body>
void with_plan(const Plan& plan, Activation activation, const Body& body) {
  with_width<T, A>(plan.panels, [&](auto lanes, auto vectors) {
    with_cell<decltype(lanes)::value* decltype(vectors)::value>(
        activation, [&](const auto& cell) { body(lanes, vectors, cell); });
  });
}

// Whether the links are multiplied in groups: members of a team own those of their rows, and all
// columns of them.
template <typename T, typename A>
bool groups(const RnnForward<T, A>& a, const Panels& panels) {
  bool grouped = false;
  with_width<T, A>(panels, [&](auto lanes, auto vectors) {
    using Product = GroupedProduct<T, decltype(lanes)::value, decltype(vectors)::value>;
    grouped = Product::template groups<A>(a.w, a.steps * panels.count);
  });
  return grouped;
}

}  // namespace

// Forward, columns are independent of each other: any panels give the same bits.
template <class Isa, typename T, typename A>
void rnn_forward(const RnnForward<T, A>& a) {
  static char code;
  const Panels whole = panels_of<T, A>(a.batch), even = even_panels_of<T, A>(a.batch);
  const int64_t links = a.w.nnz() + (a.w_input ? a.w.rows * a.inputs : 0);
  const Job job = job_of_steps(a.threads, links, a.w.rows, a.batch, a.steps);
  const bool columns = a.threads > 1 && parts_repay(even.count, a.steps, job.work) &&
                       !groups(a, whole) && !groups(a, even);
  const Trial trial(&code, job, job.threads > 1, columns);
  Plan plan{whole, trial.way() == Way::kRows ? job.threads : 1, 1};
  if (trial.way() == Way::kColumns)
    plan = {even, threads_of_parts(a.threads, job.work), Parts::kMost};
  with_plan<T, A>(plan, a.activation, [&](auto lanes, auto vectors, const auto& cell) {
    forward<decltype(lanes)::value, decltype(vectors)::value>(a, plan, cell);
  });
}

// Backward, the bits of gradients depend on how their sums are cut. So the shape alone decides
// about panels and parts, and threads share columns where there are parts.
template <class Isa, typename T, typename A>
void rnn_backward(const RnnBackward<T, A>& a) {
  static char code;
  // Where units have few links, two visits to each of them take little more time than one of twice
  // the width.
  constexpr int64_t kFewLinks = 12, kWide = 16;
  const Panels whole = panels_of<T, A>(a.batch), even = even_panels_of<T, A>(a.batch);
  const bool cut = a.batch > kWide && a.w.nnz() <= kFewLinks * a.w.rows && even.count > 0;
  const Panels panels = cut ? even : whole;
  const Job job = job_of_steps(a.threads, a.w.nnz(), a.w.rows, a.batch, a.steps);
  const bool apart = parts_repay(panels.count, a.steps, job.work);
  const Trial trial(&code, job, !apart && job.threads > 1, apart && a.threads > 1);
  const int threads = apart ? threads_of_parts(a.threads, job.work) : job.threads;
  const Plan plan{panels, trial.way() == Way::kAlone ? 1 : threads, apart ? Parts::kMost : 1};
  with_plan<T, A>(plan, a.activation, [&](auto lanes, auto vectors, const auto& cell) {
    backward<decltype(lanes)::value, decltype(vectors)::value>(a, plan, cell);
  });
}

template void rnn_forward<SPARSE_ENGINE_ISA>(
    const RnnForward<SPARSE_ENGINE_REAL, SPARSE_ENGINE_KEPT>&);
template void rnn_backward<SPARSE_ENGINE_ISA>(
    const RnnBackward<SPARSE_ENGINE_REAL, SPARSE_ENGINE_KEPT>&);

}  // namespace sparse_engine
