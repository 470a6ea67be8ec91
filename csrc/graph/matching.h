// Sets matched such that the sum of their Jaccard similarities is the largest.
#pragma once

#include <omp.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "overlap.h"
#include "sparse_engine/failure.h"

namespace sparse_engine {

// Matches sets of a (rows) and of b (columns), each at most once. The state between two calls is a
// matching of some rows with a proof of how good it is, its prices:
//
//   row_price[i] + column_price[j] >= similarity(i, j) for all pairs, equal where matched but for
//   the row's slack;
//   row_price >= 0; column_price >= 0, and 0 for columns that are alone; they never fall.
//
// So no matching has more than the sum of all prices, and this one lacks the slacks and the prices
// of the rows that still wait. The algorithm is that of Jonker and Volgenant, "A shortest
// augmenting path algorithm for dense and sparse linear assignment problems", 1987, on a graph of
// which only the shortlists of rows are in memory: they are made anew where prices have outgrown
// them, and longer where a search comes to their ends.
class Matcher {
 public:
  // Keeps references to its arguments; b_holders as in Overlaps.
  Matcher(const Sets& a, const Sets& b, const Sets& b_holders, int threads)
      : overlaps_(a, b, b_holders),
        lists_(a.count),
        row_price_(a.count),
        slack_(a.count),
        column_price_(b.count),
        column_of_(a.count, -1),
        row_of_(b.count, -1),
        distance_(b.count),
        seen_(b.count),
        done_(b.count),
        from_(b.count) {
    constexpr int64_t kRowsAtOnce = 16;
    std::atomic<int64_t> next{0};
    const auto make_shortlists = [&] {
      Overlaps mine(a, b, b_holders);
      for (int64_t first; (first = next.fetch_add(kRowsAtOnce)) < a.count;)
        for (int64_t i = first; i < std::min(first + kRowsAtOnce, a.count); ++i)
          mine.shortlist(i, column_price_, kShortlist, lists_[i]);
    };
    Failure failure;
#pragma omp parallel num_threads(a.ptr[a.count] < kLinksPerTeam ? 1 : threads)
    failure.guard(make_shortlists);
    failure.rethrow();
  }

  // Matches such that another matching has at most `bound` per row more similarity, in units of
  // 1 / kSimilarityOne; returns how much more it may have in all. With a bound, most rows are
  // placed by bids that go higher than they must (the auction of Bertsekas, 1988).
  int64_t match(int64_t bound) {
    for (const int32_t row : bid(bound)) {
      row_price_[row] = best_offer(row).best;
      augment(row);
    }
    int64_t gap = 0;
    for (int32_t row = 0; row < rows(); ++row)
      if (slack_[row] > 0)
        gap += std::max<int64_t>(0, slack_[row] - row_price_[row] + best_offer(row).best);
    return gap;
  }

  // The column of each row, -1 where it is alone.
  const std::vector<int32_t>& partners() const { return column_of_; }

 private:
  static constexpr size_t kShortlist = 32;
  static constexpr int64_t kBidsPerRow = 32;
  static constexpr int64_t kLinksPerTeam = 1 << 14;  // with fewer, one thread is as quick

  // The best of a row's gains, and the second best: of another column, or 0 of being alone.
  struct Offer {
    int64_t best = 0, second = 0;
    int32_t column = -1, second_column = -1;
  };

  Offer best_offer(int32_t row) {
    Offer offer = listed_offer(row);
    if (offer.second < lists_[row].rest) {
      overlaps_.shortlist(row, column_price_, lists_[row].most, lists_[row]);
      offer = listed_offer(row);
    }
    return offer;
  }

  Offer listed_offer(int32_t row) const {
    Offer offer;
    for (const auto [column, similarity] : lists_[row].candidates) {
      const int64_t gain = similarity - column_price_[column];
      if (gain > offer.best) {
        offer = {gain, offer.best, column, offer.column};
      } else if (gain > offer.second) {
        offer.second = gain;
        offer.second_column = column;
      }
    }
    return offer;
  }

  // Rows take their best column at the price at which the second best would do as well, and drive
  // out who had it. Cheap, and places most rows; returns the others, in order: those that find
  // their best columns taken and as good as each other, or come when bids have used up their time.
  //   raise: what they pay beyond that price, so that ties do not go on in circles.
  std::vector<int32_t> bid(int64_t raise) {
    std::vector<int32_t> waiting;
    int64_t bids = kBidsPerRow * rows();
    for (int32_t first = 0; first < rows(); ++first)
      for (int32_t row = first; row >= 0; --bids) {
        Offer offer = best_offer(row);
        row_price_[row] = offer.second;
        if (offer.best == 0) break;
        const bool tie = offer.best == offer.second;
        if (tie && row_of_[offer.column] >= 0) std::swap(offer.column, offer.second_column);
        if (bids <= 0 || (raise == 0 && tie && row_of_[offer.column] >= 0)) {
          waiting.push_back(row);
          break;
        }
        column_price_[offer.column] += offer.best - offer.second + raise;
        column_of_[row] = offer.column;
        slack_[row] = raise;
        row = std::exchange(row_of_[offer.column], row);
        if (row >= 0) {
          column_of_[row] = -1;
          slack_[row] = 0;
        }
      }
    std::sort(waiting.begin(), waiting.end());
    return waiting;
  }

  // Places one more row, on the path that costs the least, in prices, of all that end at a column
  // or row that is then alone.
  void augment(int32_t source) {
    ++search_;
    scanned_.clear();
    heap_.clear();
    best_ = row_price_[source];
    int32_t alone = source;
    end_ = -1;
    visit(source, 0);
    while (!heap_.empty() && heap_.front().first < best_) {
      std::pop_heap(heap_.begin(), heap_.end(), std::greater<>());
      const auto [at, node] = heap_.back();
      heap_.pop_back();
      if (node >= columns()) {
        const int32_t row = static_cast<int32_t>(node - columns());
        overlaps_.shortlist(row, column_price_, 2 * lists_[row].most, lists_[row]);
        visit(row, row == source ? 0 : distance_[column_of_[row]]);
      } else if (done_[node] != search_) {
        done_[node] = search_;
        scanned_.push_back(static_cast<int32_t>(node));
        const int32_t row = row_of_[node];
        if (at + row_price_[row] < best_) {
          best_ = at + row_price_[row];
          alone = row;
          end_ = -1;
        }
        visit(row, at);
      }
    }
    row_price_[source] -= best_;
    for (const int32_t column : scanned_) {
      column_price_[column] += best_ - distance_[column];
      row_price_[row_of_[column]] -= best_ - distance_[column];
    }
    if (end_ < 0 && alone == source) return;
    if (end_ < 0) slack_[alone] = 0;
    int32_t column = end_ < 0 ? std::exchange(column_of_[alone], -1) : end_;
    for (int32_t row = -1; row != source;) {
      row = from_[column];
      slack_[row] = 0;
      row_of_[column] = row;
      std::swap(column_of_[row], column);
    }
  }

  // Follows the pairs of a row that is at a distance from the source.
  void visit(int32_t row, int64_t at) {
    const int64_t base = at + row_price_[row];
    for (const auto [column, similarity] : lists_[row].candidates) {
      const int64_t next = base + column_price_[column] - similarity;
      if (next >= best_ || (seen_[column] == search_ && distance_[column] <= next)) continue;
      seen_[column] = search_;
      distance_[column] = next;
      from_[column] = row;
      if (row_of_[column] < 0) {
        best_ = next;
        end_ = column;
      } else {
        push(next, column);
      }
    }
    // Pairs beyond the list are at least as far as this.
    if (lists_[row].rest > 0 && base - lists_[row].rest < best_)
      push(base - lists_[row].rest, columns() + row);
  }

  void push(int64_t at, int64_t node) {
    heap_.emplace_back(at, node);
    std::push_heap(heap_.begin(), heap_.end(), std::greater<>());
  }

  int32_t rows() const { return static_cast<int32_t>(lists_.size()); }
  int64_t columns() const { return static_cast<int64_t>(row_of_.size()); }

  Overlaps overlaps_;
  std::vector<Shortlist> lists_;             // [rows]
  std::vector<int64_t> row_price_, slack_;   // [rows]
  std::vector<int64_t> column_price_;        // [columns]
  std::vector<int32_t> column_of_, row_of_;  // [rows], [columns], -1 for none

  // One search.
  int64_t search_ = 0;             // its number
  int64_t best_ = 0;               // the cost of the best path so far
  int32_t end_ = -1;               // the column that it ends at, or -1 if at a row
  std::vector<int64_t> distance_;  // [columns], of those that were seen
  std::vector<int64_t> seen_;      // [columns], the last search that saw them
  std::vector<int64_t> done_;      // [columns], the last search that found their shortest paths
  std::vector<int32_t> from_;      // [columns], the row before them on the path
  std::vector<int32_t> scanned_;   // columns whose distance is final
  std::vector<std::pair<int64_t, int64_t>> heap_;  // distance; a column, or columns + a row whose
                                                   // list is to be extended
};

}  // namespace sparse_engine
