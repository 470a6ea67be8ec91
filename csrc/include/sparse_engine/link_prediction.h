// Link prediction in a bipartite network: absent cells scored by the links around them.
#pragma once

#include <cstdint>
#include <vector>

#include "sparse_engine/pattern.h"

namespace sparse_engine {

// Rows and columns are the two kinds of units, a link (i, j) joins row i and column j. A path of
// length 3 leads from an absent cell's row r over a column j and a row i to its column c: it is
// three links (r, j), (i, j), (i, c). The rows i and columns j on such paths are the cell's local
// community. With a row or column as the set of its links, a member has
//   inside(i) = |row i and row r|, inside(j) = |column j and column c|   links to other members,
//   outside = |its links| - inside - 1                                   links to anyone else,
// where the 1 is its link to c or to r. The scores of the absent cell are
//   CH3-L3   the sum over all paths of 1 / sqrt((1 + outside(i)) (1 + outside(j))),
//   CH2-L3n  the sum over all members of (1 + inside) / (1 + outside).
// Both are sums in float64, in the same order for any number of threads.
struct LinkPrediction {
  Csr w;
  Csr wt;                // its transpose
  int64_t count;         // >= 0
  const RandomKey* key;  // or null
  int threads;           // at most this many
};

struct Prediction {
  int64_t cell;  // row * cols + col
  double score;
};

// The `count` absent cells of the greatest scores, among equal ones the lowest cells, in increasing
// order; fewer where fewer have a score above 0. With a key every score is first divided by an
// exponentially distributed number of its own, which makes the cells a sample without replacement,
// in proportion to the scores. Draws other numbers than sample_absent does with the same key.
//
// Time is proportional to the walks of three links, sum over links of |row i| |column j|; memory to
// count, and for each thread to rows + cols.
std::vector<Prediction> ch3_l3(const LinkPrediction& args);
std::vector<Prediction> ch2_l3n(const LinkPrediction& args);

}  // namespace sparse_engine
