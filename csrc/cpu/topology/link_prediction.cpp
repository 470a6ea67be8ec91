#include "sparse_engine/link_prediction.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <mutex>
#include <utility>

#include "runtime/team.h"
#include "sparse_engine/failure.h"
#include "sparse_engine/philox.h"

namespace sparse_engine {
namespace {

// A score as the links of one column j of row r contribute to it: each path adds what its row i
// weighs, and all paths over j together add what `over` makes of their sum. `power[n]` stands for
// a power of n, and for 0 where n = 0: such a row or column leads to cells that are links only.
struct Ch3L3 {
  static double power(double n) { return 1 / std::sqrt(n); }
  static double row(const double* power, int64_t links, int64_t inside) {
    return power[links - inside];
  }
  static double over(const double* power, int64_t links, int64_t inside, double paths) {
    return paths * power[links - inside];
  }
};

// A row is on as many paths as it has links inside, and counts once.
struct Ch2L3n {
  static double power(double n) { return 1 / n; }
  static double row(const double* power, int64_t links, int64_t inside) {
    return static_cast<double>(1 + inside) / static_cast<double>(inside) * power[links - inside];
  }
  static double over(const double* power, int64_t links, int64_t inside, double paths) {
    return paths + static_cast<double>(1 + inside) * power[links - inside];
  }
};

// Scores one row after the other.
template <class Rule>
class Scorer {
 public:
  Scorer(const Csr& w, const Csr& wt, const double* power)
      : w_(w),
        wt_(wt),
        power_(power),
        inside_(w.rows),
        reached_(w.rows + 1),
        weight_(w.rows),
        meeting_(w.cols),
        met_(w.cols + 1),
        score_(w.cols),
        found_(w.cols + 1) {}

  // Calls visit(column, score) for every absent cell of the row with a score above 0.
  template <class Visit>
  void row(int64_t r, const Visit& visit) {
    // Never 0 and never a result, whatever is added.
    for (int64_t p = w_.ptr[r]; p < w_.ptr[r + 1]; ++p) score_[w_.idx[p]] = -kInfinity;
    weigh_rows(r);
    int64_t found = 0;
    for (int64_t p = w_.ptr[r]; p < w_.ptr[r + 1]; ++p) found = add_paths(w_.idx[p], found);
    for (int64_t n = 0; n < found; ++n) visit(found_[n], std::exchange(score_[found_[n]], 0));
    for (int64_t p = w_.ptr[r]; p < w_.ptr[r + 1]; ++p) score_[w_.idx[p]] = 0;
  }

 private:
  // Where the paths over one column arrive.
  struct Meeting {
    double paths;
    int32_t inside;
  };

  static constexpr double kInfinity = std::numeric_limits<double>::infinity();

  // The weight of every row that shares a column with row r.
  void weigh_rows(int64_t r) {
    int64_t reached = 0;
    for (int64_t p = w_.ptr[r]; p < w_.ptr[r + 1]; ++p)
      for (int64_t q = wt_.ptr[w_.idx[p]]; q < wt_.ptr[w_.idx[p] + 1]; ++q) {
        reached_[reached] = wt_.idx[q];
        reached += inside_[wt_.idx[q]]++ == 0;
      }
    for (int64_t n = 0; n < reached; ++n) {
      const int32_t i = reached_[n];
      weight_[i] = Rule::row(power_, w_.ptr[i + 1] - w_.ptr[i], std::exchange(inside_[i], 0));
    }
  }

  // Adds what the paths over column j contribute. Returns how many cells have a score by then.
  int64_t add_paths(int32_t j, int64_t found) {
    Meeting* meeting = meeting_.data();
    int32_t* met = met_.data();
    for (int64_t q = wt_.ptr[j]; q < wt_.ptr[j + 1]; ++q) {
      const int32_t i = wt_.idx[q];
      const double weight = weight_[i];
      const int64_t end = w_.ptr[i + 1];
      for (int64_t p = w_.ptr[i]; p < end; ++p) {
        const int32_t c = w_.idx[p];
        *met = c;
        met += meeting[c].inside++ == 0;
        meeting[c].paths += weight;
      }
    }
    const int64_t links = wt_.ptr[j + 1] - wt_.ptr[j];
    for (const int32_t* at = met_.data(); at < met; ++at) {
      const int32_t c = *at;
      const double added = Rule::over(power_, links, meeting[c].inside, meeting[c].paths);
      meeting[c] = {};
      found_[found] = c;
      found += score_[c] == 0;
      score_[c] += added;
    }
    return found;
  }

  const Csr w_, wt_;
  const double* power_;
  std::vector<int32_t> inside_, reached_;
  std::vector<double> weight_;
  std::vector<Meeting> meeting_;
  std::vector<int32_t> met_;
  std::vector<double> score_;
  std::vector<int32_t> found_;
};

// Keeps the best `count` of all predictions, in whatever order threads deliver them.
class Best {
 public:
  explicit Best(int64_t count) : count_(count) {}

  // What scores less than this is not among the best.
  double bound() const { return bound_.load(std::memory_order_relaxed); }

  // Takes over the predictions of a thread and leaves it none.
  void take(std::vector<Prediction>& delivered) {
    std::lock_guard<std::mutex> lock(mutex_);
    best_.insert(best_.end(), delivered.begin(), delivered.end());
    delivered.clear();
    if (static_cast<int64_t>(best_.size()) / 2 >= count_) cut();
  }

  std::vector<Prediction> by_cell() {
    cut();
    std::sort(best_.begin(), best_.end(),
              [](const Prediction& a, const Prediction& b) { return a.cell < b.cell; });
    return std::move(best_);
  }

 private:
  void cut() {
    if (static_cast<int64_t>(best_.size()) <= count_) return;
    const auto better = [](const Prediction& a, const Prediction& b) {
      return a.score != b.score ? a.score > b.score : a.cell < b.cell;
    };
    std::nth_element(best_.begin(), best_.begin() + (count_ - 1), best_.end(), better);
    best_.resize(count_);
    bound_ = best_.back().score;
  }

  const int64_t count_;
  std::mutex mutex_;
  std::vector<Prediction> best_;
  std::atomic<double> bound_{0};
};

// An exponentially distributed number above 0, from counters that no other kernel uses.
double exponential(const RandomKey& key, int64_t cell) {
  const uint64_t counter = uint64_t{1} << 63 | static_cast<uint64_t>(cell);
  const uint64_t bits = Philox::at(counter, key.step, key.stream, key.seed).pair(0) >> 12;
  return -std::log((static_cast<double>(bits) + 0.5) * 0x1p-52);
}

// The walks of three links, each of which takes one step of the innermost loop.
int64_t walks(const Csr& w, const Csr& wt) {
  int64_t sum = 0;
  for (int64_t i = 0; i < w.rows; ++i)
    for (int64_t p = w.ptr[i]; p < w.ptr[i + 1]; ++p)
      sum += (w.ptr[i + 1] - w.ptr[i]) * (wt.ptr[w.idx[p] + 1] - wt.ptr[w.idx[p]]);
  return sum;
}

template <class Rule>
std::vector<Prediction> predict(const LinkPrediction& a) {
  constexpr int64_t kRowsAtOnce = 8;
  constexpr size_t kPredictionsAtOnce = 1 << 14;
  if (a.count == 0) return {};
  std::vector<double> power(std::max(a.w.rows, a.w.cols) + 1);
  for (size_t n = 1; n < power.size(); ++n) power[n] = Rule::power(static_cast<double>(n));
  Best best(a.count);
  // Hubs make rows unequal, so threads take them as they go; each is scored by one of them.
  std::atomic<int64_t> next{0};
  const auto score_rows = [&] {
    Scorer<Rule> scorer(a.w, a.wt, power.data());
    std::vector<Prediction> mine;
    for (int64_t first; (first = next.fetch_add(kRowsAtOnce)) < a.w.rows;)
      for (int64_t r = first; r < std::min(first + kRowsAtOnce, a.w.rows); ++r) {
        scorer.row(r, [&](int32_t column, double score) {
          const int64_t cell = r * a.w.cols + column;
          if (a.key != nullptr) score /= exponential(*a.key, cell);
          if (score >= best.bound()) mine.push_back({cell, score});
        });
        if (mine.size() >= kPredictionsAtOnce) best.take(mine);
      }
    best.take(mine);
  };
  Failure failure;
  run_team(useful_threads(a.threads, walks(a.w, a.wt)),
           [&](const Team&) { failure.guard(score_rows); });
  failure.rethrow();
  return best.by_cell();
}

}  // namespace

std::vector<Prediction> ch3_l3(const LinkPrediction& args) { return predict<Ch3L3>(args); }

std::vector<Prediction> ch2_l3n(const LinkPrediction& args) { return predict<Ch2L3n>(args); }

}  // namespace sparse_engine
