// How similar sets are, without a table of all pairs.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace sparse_engine {

// Sets of integers in CSR: set i has the members idx[ptr[i]] to idx[ptr[i + 1] - 1], each once.
struct Sets {
  int64_t count;
  const int64_t* ptr;  // [count + 1]
  const int32_t* idx;  // [ptr[count]]

  int64_t size(int64_t i) const { return ptr[i + 1] - ptr[i]; }
};

// Similarities are integers, so that sums are exact and ties are ties: multiples of 2^-40.
constexpr int64_t kSimilarityOne = int64_t{1} << 40;

struct Candidate {
  int32_t column;
  int64_t similarity;
};

// The columns that gain a row the most, where a gain is the similarity less the column's price.
struct Shortlist {
  size_t most = 0;                    // how many were asked for
  std::vector<Candidate> candidates;  // by falling gain at the time, all above 0
  int64_t rest = 0;                   // no other column gained more then; at least 0
};

// The Jaccard similarity of rows, which are sets a, to columns, which are sets b. Pairs without a
// common member have none; the others are found anew whenever they are asked for.
class Overlaps {
 public:
  // Keeps references to its arguments.
  //   b_holders: for each member, the sets of b that have it.
  Overlaps(const Sets& a, const Sets& b, const Sets& b_holders)
      : a_(a), b_(b), b_holders_(b_holders), shared_(b.count) {}

  // Makes the shortlist of row i. Of equal gains, the column of the same number comes first, then
  // the next higher ones, in a circle.
  //   price [columns], at least 0.
  void shortlist(int64_t i, const std::vector<int64_t>& price, size_t most, Shortlist& list) {
    count_shared(i);
    found_.clear();
    for (const int32_t j : touched_) {
      const int64_t similar = similarity(i, j);
      const int64_t gain = similar - price[j];
      if (gain > 0) found_.push_back({gain, j < i ? j + b_.count : j, similar});
      shared_[j] = 0;
    }
    list.most = most;
    list.rest = 0;
    if (found_.size() > most) {
      std::nth_element(found_.begin(), found_.begin() + most, found_.end());
      list.rest = found_[most].gain;
      found_.resize(most);
    }
    std::sort(found_.begin(), found_.end());
    list.candidates.clear();
    for (const Found& each : found_)
      list.candidates.push_back({static_cast<int32_t>(each.rank % b_.count), each.similarity});
  }

 private:
  struct Found {
    int64_t gain;
    int64_t rank;
    int64_t similarity;

    bool operator<(const Found& other) const {
      return gain != other.gain ? gain > other.gain : rank < other.rank;
    }
  };

  void count_shared(int64_t i) {
    touched_.clear();
    for (int64_t p = a_.ptr[i]; p < a_.ptr[i + 1]; ++p) {
      const int64_t member = a_.idx[p];
      for (int64_t q = b_holders_.ptr[member]; q < b_holders_.ptr[member + 1]; ++q)
        if (shared_[b_holders_.idx[q]]++ == 0) touched_.push_back(b_holders_.idx[q]);
    }
  }

  int64_t similarity(int64_t i, int64_t j) const {
    const double common = shared_[j];
    const double all = static_cast<double>(a_.size(i) + b_.size(j)) - common;
    return static_cast<int64_t>(common / all * kSimilarityOne);
  }

  const Sets &a_, &b_, &b_holders_;
  std::vector<int32_t> shared_;   // [columns], members in common with the row at hand, else 0
  std::vector<int32_t> touched_;  // the columns where it is not 0
  std::vector<Found> found_;
};

}  // namespace sparse_engine
