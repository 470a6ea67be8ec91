// The time loop of the ordered-neurons LSTM, forward. The master gates' rows are multiplied first;
// behind a barrier every member of the team takes their softmax for itself.
#pragma once

#include "products/row_groups.h"
#include "sequences/master_gates.h"

namespace sparse_engine {
namespace {

template <typename T, typename A, int L, int NV>
void forward_loop(const OnLstmForward<T, A>& a, int64_t panels) {
  constexpr int W = L * NV;
  const int64_t hidden = a.w.cols, rows = a.w.rows, masters = kMasters * a.chunks;
  const int64_t chunk = hidden / a.chunks;
  using Product = GroupedProduct<T, L, NV>;
  const Csr gates = rows_from(a.w, masters, kGates * hidden);
  const Sequence<T, W> seq{a.batch, panels, a.steps, nullptr, a.resets};
  const Job job = job_of_steps(a.threads, a.w.nnz(), rows, a.batch, a.steps);
  const typename Product::Use use{a.steps * panels, job.threads, kGates};
  Scratch scratch(Ring<A, W>::bytes(2, hidden, panels) + Ring<T, W>::bytes(1, hidden, panels) +
                  Ring<T, W>::bytes(1, masters, panels) +
                  Ring<T, W>::bytes(2 * job.threads, masters, panels) +
                  Scratch::bytes_of<T>(job.threads * kGates * kGateTile<W>) +
                  Product::template bytes<A>(gates, use));
  const Ring<A, W> h(scratch, 2, hidden, panels);
  const State<T, W> c = Ring<T, W>(scratch, 1, hidden, panels).at(0);
  const State<T, W> u = Ring<T, W>(scratch, 1, masters, panels).at(0);
  const Ring<T, W> of_members(scratch, 2 * job.threads, masters, panels);
  T* tiles = scratch.take<T>(job.threads * kGates * kGateTile<W>);
  const RowProduct<T, L, NV> master_product{a.w, {a.values}, prefetch_of<A, W>(a.w)};
  const Product w =
      Product::template make<A>({gates, {a.values}, prefetch_of<A, W>(a.w)}, use, scratch);

  run_team(job, [&](const Team& team) {
    const Rows units =
        units_of(gates, kGates, team.rank, team.size, kBlock, kGates * kLinksPerGate);
    const Rows own =
        rows_of(rows_from(a.w, 0, masters), team.rank, team.size, kBlock, kLinksPerGate);
    const State<T, W> p = of_members.at(2 * team.rank), master = of_members.at(2 * team.rank + 1);
    T* tile = tiles + team.rank * kGates * kGateTile<W>;
    const typename Product::Share gate_product(w, team.rank, units);
    // x + b, for the row whose x is at `x`
    const auto start_row = [&](const T* x, int64_t row, Vec<T, L>(&sum)[NV]) {
      for (int v = 0; v < NV; ++v) sum[v] = load<T, L>(x + v * L) + (a.bias ? a.bias[row] : T(0));
    };
    seq.tiles(units, [&](int64_t q, int64_t first, int count) {
      read_initial(seq, a.h0, h.at(-1), q, first, count);
      read_initial(seq, a.c0, c, q, first, count);
      seq.set_back(0, q, count, h.at(-1).row(q, first), c.row(q, first));
    });
    team.barrier();
    for (int64_t t = 0; t < a.steps; ++t) {
      const State<A, W> before = h.at(t - 1), now = h.at(t);
      seq.tiles(own, [&](int64_t q, int64_t first, int count) {
        read_tile<T, W>(seq.step(a.x, rows, t, q), first, count, seq.columns(q), tile);
        for (int r = 0; r < count; ++r) {
          Vec<T, L> sum[NV];
          start_row(tile + r * W, first + r, sum);
          master_product(sum, first + r, before.panel(q));
          for (int v = 0; v < NV; ++v) store<T, L>(u.row(q, first + r) + v * L, sum[v]);
        }
      });
      team.barrier();
      // Every member takes the softmax for itself: it is little work, and saves a barrier.
      for (int64_t q = 0; q < panels; ++q) {
        for (int gate = 0; gate < kMasters; ++gate)
          softmax<T, L, NV>(u.row(q, gate * a.chunks), a.chunks, p.row(q, gate * a.chunks));
        masters_of<T, L, NV>(p.panel(q), a.chunks, master.panel(q));
      }
      if (a.saved)
        seq.tiles(own, [&](int64_t q, int64_t first, int count) {
          write_tile<T, W>(p.row(q, first), seq.step(a.saved, rows, t, q), first, count,
                           seq.columns(q));
        });
      seq.tiles(units, [&](int64_t q, int64_t first, int count) {
        const int columns = seq.columns(q);
        for (int g = 0; g < kGates; ++g)
          read_tile<T, W>(seq.step(a.x, rows, t, q), masters + g * hidden + first, count, columns,
                          tile + g * kGateTile<W>);
        for (int r = 0; r < count; ++r) {
          const int64_t unit = first + r;
          Vec<T, L> sums[kGates][NV];
          for (int g = 0; g < kGates; ++g) {
            Vec<T, L> sum[NV];
            start_row(tile + g * kGateTile<W> + r * W, masters + g * hidden + unit, sum);
            gate_product(sum, unit, before.panel(q), g);
            for (int v = 0; v < NV; ++v) sums[g][v] = sum[v];
          }
          RowWriter<T, L, NV, A> to;
          to.row = now.row(q, unit);
          for (int v = 0; v < NV; ++v) {
            Vec<T, L> saved[kGates];
            for (int g = 0; g < kGates; ++g)
              saved[g] = OnLstm::activated<VectorMath<T, L>>(g, sums[g][v]);
            const OnLstm::Unit<Vec<T, L>> cell{
                saved[0],
                saved[1],
                saved[2],
                saved[3],
                load<T, L>(master.row(q, unit / chunk) + v * L),
                load<T, L>(master.row(q, a.chunks + unit / chunk) + v * L)};
            T* memory = c.row(q, unit) + v * L;
            Vec<T, L> carried = load<T, L>(memory);
            to.set(v, cell.template forward<VectorMath<T, L>>(carried));
            store<T, L>(memory, carried);
            for (int g = 0; g < kGates; ++g)
              store<T, L>(tile + g * kGateTile<W> + r * W + v * L,
                          OnLstm::is_sigmoid(g) ? kept_sigmoid<T, L, A>(saved[g]) : saved[g]);
          }
        }
        write_tile<T, W>(now.row(q, first), seq.step(a.h, hidden, t, q), first, count, columns);
        if (a.c)
          write_tile<T, W>(c.row(q, first), seq.step(a.c, hidden, t, q), first, count, columns);
        if (t + 1 == a.steps)
          write_tile<T, W>(c.row(q, first), seq.step(a.c_n, hidden, 0, q), first, count, columns);
        if (a.saved)
          for (int g = 0; g < kGates; ++g)
            write_tile<T, W>(tile + g * kGateTile<W>, seq.step(a.saved, rows, t, q),
                             masters + g * hidden + first, count, columns);
        seq.set_back(t + 1, q, count, now.row(q, first), c.row(q, first));
      });
      team.barrier();
    }
  });
}

}  // namespace
}  // namespace sparse_engine
