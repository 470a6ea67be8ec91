// Selection by radix: digit by digit, from the highest, the one in which the last of the chosen is.
#include <cstring>
#include <type_traits>

#include "runtime/each.cuh"
#include "sparse_engine/select.h"
#include "topology/scan.cuh"

namespace sparse_engine::cuda {
namespace {

constexpr int kDigitBits = 8, kDigits = 1 << kDigitBits;

template <typename T>
using Key = std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>;

// An unsigned integer that is ordered as the numbers are.
template <typename T>
__host__ __device__ Key<T> ordered(T value) {
  constexpr int kSign = 8 * sizeof(T) - 1;
  value += T(0);  // -0 becomes 0, so that the two are equal
  Key<T> bits;
  memcpy(&bits, &value, sizeof bits);
  return bits ^ ((Key<T>(0) - (bits >> kSign)) | Key<T>(1) << kSign);
}

// Scores in ascending order; those that may not be chosen wrap around to the end.
template <typename T>
struct Keys {
  const T* entries;
  T sign;
  Key<T> least;

  explicit Keys(const Scores<T>& scores)
      : entries(scores.entries),
        sign(scores.negate ? T(-1) : T(1)),
        least(scores.above != scores.above ? Key<T>(0) : ordered(scores.above) + 1) {}

  __device__ Key<T> operator[](int64_t i) const { return ordered(sign * entries[i]) - least; }
  __device__ bool may_be_chosen(int64_t i) const {
    return least == 0 || (*this)[i] < Key<T>(0) - least;
  }
};

// How many are to be chosen: a number, or a share of those that may be.
struct Quota {
  int64_t count;
  double share;

  __device__ int64_t of(int64_t eligible) const {
    if (share >= 0) return static_cast<int64_t>(share * eligible);
    return count < eligible ? count : eligible;
  }
};

template <typename T>
struct IsEligible {
  Keys<T> keys;
  int64_t* nan;
  __device__ int64_t operator()(int64_t i) const {
    if (keys.entries[i] != keys.entries[i]) *nan = i;
    return keys.may_be_chosen(i);
  }
};

// The digits of the last of the chosen that are known, and how many of those that share them are
// chosen.
template <typename T>
struct Last {
  Key<T> key;
  int64_t wanted;
};

template <typename T>
struct Begin {
  Quota quota;
  const int64_t* eligible;
  Last<T>* last;
  __device__ void operator()(int64_t) const { *last = {0, quota.of(*eligible)}; }
};

template <typename T>
__global__ void __launch_bounds__(kThreads)
    count_digits(const Keys<T> keys, int64_t n, int shift, const Last<T>* last,
                 unsigned long long* counts) {
  static_assert(kThreads == kDigits);
  __shared__ unsigned own[kDigits];
  own[threadIdx.x] = 0;
  __syncthreads();
  const Key<T> known = shift + kDigitBits < 8 * static_cast<int>(sizeof(T))
                           ? ~Key<T>(0) << (shift + kDigitBits)
                           : Key<T>(0);
  for (int64_t i = thread_in_grid(); i < n; i += threads_of_grid()) {
    const Key<T> key = keys[i];
    if (((key ^ last->key) & known) == 0) atomicAdd(&own[key >> shift & (kDigits - 1)], 1u);
  }
  __syncthreads();
  atomicAdd(&counts[threadIdx.x], static_cast<unsigned long long>(own[threadIdx.x]));
}

template <typename T>
struct ChooseDigit {
  const unsigned long long* counts;
  int shift;
  Last<T>* last;
  __device__ void operator()(int64_t) const {
    int digit = 0;
    int64_t wanted = last->wanted;
    for (; digit + 1 < kDigits && wanted > static_cast<int64_t>(counts[digit]); ++digit)
      wanted -= counts[digit];
    *last = {last->key | static_cast<Key<T>>(digit) << shift, wanted};
  }
};

template <typename T>
struct IsLast {
  Keys<T> keys;
  const Last<T>* last;
  __device__ int64_t operator()(int64_t i) const { return keys[i] == last->key; }
};

// Marks; among those that equal the last one, the first.
template <typename T>
struct Mark {
  Keys<T> keys;
  const Last<T>* last;
  const int64_t* equal_before;
  bool adds;  // to marks that are there
  bool* chosen;
  __device__ void operator()(int64_t i) const {
    const Key<T> key = keys[i];
    const bool marked = key < last->key || (key == last->key && equal_before[i] < last->wanted);
    chosen[i] = marked || (adds && chosen[i]);
  }
};

template <typename T>
struct MarkZeros {
  const T* values;
  bool* chosen;
  __device__ void operator()(int64_t i) const { chosen[i] = values[i] == T(0); }
};

template <typename T>
void select(const Scores<T>& scores, const Quota& quota, bool adds, bool* chosen, int64_t* nan,
            const Stream& stream) {
  const Keys<T> keys(scores);
  const int64_t n = scores.n;
  int64_t* before = take<int64_t>(stream, n + 1);
  Last<T>* last = take<Last<T>>(stream, 1);
  unsigned long long* counts = take<unsigned long long>(stream, kDigits);
  scan(IsEligible<T>{keys, nan}, n, before, stream);
  run_each(Begin<T>{quota, before + n, last}, 1, stream);
  for (int shift = 8 * sizeof(T) - kDigitBits; shift >= 0; shift -= kDigitBits) {
    fill_zeros(counts, kDigits, stream);
    launch(count_digits<T>, std::min<int64_t>(n, int64_t{1} << 18), stream, keys, n, shift, last,
           counts);
    run_each(ChooseDigit<T>{counts, shift, last}, 1, stream);
  }
  scan(IsLast<T>{keys, last}, n, before, stream);
  run_each(Mark<T>{keys, last, before, adds, chosen}, n, stream);
}

}  // namespace

template <typename T>
int64_t smallest(const Scores<T>& scores, int64_t count, bool* chosen, const Stream& stream) {
  int64_t* nan = take_flag(stream);
  select<T>(scores, {count, -1}, false, chosen, nan, stream);
  return read(nan, stream);
}

template <typename T>
int64_t nearest_zero(const T* values, int64_t n, double share, bool* chosen, const Stream& stream) {
  int64_t* nan = take_flag(stream);
  run_each(MarkZeros<T>{values, chosen}, n, stream);
  for (const bool negate : {false, true})
    select<T>({values, n, negate, T(0)}, {0, share}, true, chosen, nan, stream);
  return read(nan, stream);
}

template int64_t smallest(const Scores<float>&, int64_t, bool*, const Stream&);
template int64_t smallest(const Scores<double>&, int64_t, bool*, const Stream&);
template int64_t nearest_zero(const float*, int64_t, double, bool*, const Stream&);
template int64_t nearest_zero(const double*, int64_t, double, bool*, const Stream&);

}  // namespace sparse_engine::cuda
