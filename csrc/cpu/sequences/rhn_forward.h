// The time loop of the recurrent highway network, forward. A step is a walk through the levels,
// each with a weight of its own, and a barrier behind each.
#pragma once

#include <vector>

#include "products/row_groups.h"
#include "sequences/highway.h"

namespace sparse_engine {
namespace {

template <typename T, typename A, int L, int NV, class Cell>
void forward_loop(const RhnForward<T, A>& a, int64_t panels) {
  constexpr int W = L * NV, G = Cell::kBlocks, S = Cell::kSaved;
  using Product = GroupedProduct<T, L, NV>;
  const int64_t hidden = a.levels[0].w.cols;
  const Sequence<T, W> seq{a.batch, panels, a.steps, nullptr, a.resets};
  const int64_t links = links_of(a);
  const Job job = job_of_steps(a.threads, links / a.depth, G * hidden, a.batch, a.steps);
  const typename Product::Use use{a.steps * panels, job.threads, G};
  size_t product_bytes = 0;
  for (int64_t l = 0; l < a.depth; ++l)
    product_bytes += Product::template bytes<A>(a.levels[l].w, use);
  Scratch scratch(Ring<A, W>::bytes(2, hidden, panels) + 2 * Ring<T, W>::bytes(1, hidden, panels) +
                  Scratch::bytes_of<T>(job.threads * S * kGateTile<W>) + product_bytes);
  const Ring<A, W> masked(scratch, 2, hidden, panels);
  const State<T, W> state = Ring<T, W>(scratch, 1, hidden, panels).at(0);
  const State<T, W> mask = Ring<T, W>(scratch, 1, hidden, panels).at(0);
  T* tiles = scratch.take<T>(job.threads * S * kGateTile<W>);
  std::vector<Product> products;
  for (int64_t l = 0; l < a.depth; ++l) {
    const Csr& w = a.levels[l].w;
    products.push_back(Product::template make<A>(
        {w, {a.levels[l].values}, prefetch_of<A, W>(w, links)}, use, scratch));
  }

  run_team(job, [&](const Team& team) {
    T* tile = tiles + team.rank * S * kGateTile<W>;
    const auto units_of_level = [&](int64_t l) {
      return units_of(a.levels[l].w, G, team.rank, team.size, kBlock, G * kLinksPerGate);
    };
    std::vector<typename Product::Share> shares;
    for (int64_t l = 0; l < a.depth; ++l)
      shares.emplace_back(products[l], team.rank, units_of_level(l));
    seq.tiles(units_of_level(0), [&](int64_t q, int64_t first, int count) {
      read_initial(seq, a.s0, state, q, first, count);
      seq.set_back(0, q, count, state.row(q, first));
      read_mask(seq, a.mask, mask, q, first, count);
      for (int r = 0; r < count; ++r) {
        Vec<T, L> product[NV];
        for (int v = 0; v < NV; ++v)
          product[v] = load<T, L>(mask.row(q, first + r) + v * L) *
                       load<T, L>(state.row(q, first + r) + v * L);
        store_row<T, L>(masked.at(-1).row(q, first + r), product);
      }
    });
    team.barrier();
    for (int64_t k = 0; k < a.steps * a.depth; ++k) {
      const int64_t t = k / a.depth, l = k % a.depth;
      const bool fed = l < a.fed;
      const T* bias = a.bias ? a.bias + l * G * hidden : nullptr;
      const State<A, W> before = masked.at(k - 1), now = masked.at(k);
      const typename Product::Share& product = shares[l];
      seq.tiles(units_of_level(l), [&](int64_t q, int64_t first, int count) {
        const int columns = seq.columns(q);
        for (int g = 0; g < G && fed; ++g)
          read_tile<T, W>(seq.step(a.x, G * hidden, t * a.fed + l, q), g * hidden + first, count,
                          columns, tile + g * kGateTile<W>);
        for (int r = 0; r < count; ++r) {
          Vec<T, L> sums[G][NV];
          for (int g = 0; g < G; ++g) {
            const int64_t row = g * hidden + first + r;
            const T* x = tile + g * kGateTile<W> + r * W;
            Vec<T, L> sum[NV];
            for (int v = 0; v < NV; ++v)
              sum[v] = (fed ? load<T, L>(x + v * L) : Vec<T, L>{}) + (bias ? bias[row] : T(0));
            product(sum, first + r, before.panel(q), g);
            for (int v = 0; v < NV; ++v) sums[g][v] = sum[v];
          }
          RowWriter<T, L, NV, A> to;
          to.row = now.row(q, first + r);
          for (int v = 0; v < NV; ++v) {
            T* at = state.row(q, first + r) + v * L;
            Vec<T, L> u[G], saved[S];
            for (int g = 0; g < G; ++g) u[g] = sums[g][v];
            const Vec<T, L> s = Cell::template forward<VectorMath<T, L>>(u, load<T, L>(at), saved);
            store<T, L>(at, s);
            to.set(v, s * load<T, L>(mask.row(q, first + r) + v * L));
            for (int i = 0; i < S; ++i) {
              if (Cell::is_sigmoid(i)) saved[i] = kept_sigmoid<T, L, A>(saved[i]);
              store<T, L>(tile + i * kGateTile<W> + r * W + v * L, saved[i]);
            }
          }
        }
        if (l + 1 == a.depth)
          write_tile<T, W>(state.row(q, first), seq.step(a.y, hidden, t, q), first, count, columns);
        if (a.saved)
          for (int i = 0; i < S; ++i)
            write_tile<T, W>(tile + i * kGateTile<W>, seq.step(a.saved, S * hidden, k, q),
                             i * hidden + first, count, columns);
        if (l + 1 == a.depth) seq.set_back(t + 1, q, count, state.row(q, first), now.row(q, first));
      });
      team.barrier();
    }
  });
}

}  // namespace
}  // namespace sparse_engine
