// The elementwise functions of the cells, on vectors of any width.
#pragma once

#include "cells/cell.h"
#include "runtime/kept.h"

namespace sparse_engine {
namespace {

template <typename T>
struct ExpConstants;

template <>
struct ExpConstants<float> {
  using Word = uint32_t;
  static constexpr int kMantissaBits = 23, kBias = 127, kDegree = 7;
  static constexpr float kRound = 0x1.8p23f;
  static constexpr float kLn2High = 0x1.62e4p-1f, kLn2Low = 0x1.7f7d1cp-20f;
  static constexpr float kTanhIsOne = 10.f, kSigmoidIsZero = 87.f;
  static constexpr int kArtanhTerms = 8;
};

template <>
struct ExpConstants<double> {
  using Word = uint64_t;
  static constexpr int kMantissaBits = 52, kBias = 1023, kDegree = 13;
  static constexpr double kRound = 0x1.8p52;
  static constexpr double kLn2High = 0x1.62e42fefa38p-1, kLn2Low = 0x1.ef35793c7673p-45;
  static constexpr double kTanhIsOne = 20., kSigmoidIsZero = 700.;
  static constexpr int kArtanhTerms = 16;
};

constexpr double inverse_factorial(int n) { return n <= 1 ? 1. : inverse_factorial(n - 1) / n; }

// exp(x) - 1 while it is finite, x >= 0, without cancellation: x = k ln 2 + r with |r| <= ln(2) /
// 2, then 2^k (exp(r) - 1) + (2^k - 1) with a Taylor polynomial in r.
template <typename T, int L>
SE_INLINE Vec<T, L> expm1_positive(Vec<T, L> x) {
  using C = ExpConstants<T>;
  using Bits = Vec<typename C::Word, L>;
  constexpr T kLog2E = T(1.4426950408889634074);
  const Vec<T, L> shifted = x * kLog2E + C::kRound;
  const Vec<T, L> k = shifted - C::kRound;
  const Vec<T, L> r = (x - k * C::kLn2High) - k * C::kLn2Low;

  Vec<T, L> p = r * T(inverse_factorial(C::kDegree)) + T(inverse_factorial(C::kDegree - 1));
  for (int n = C::kDegree - 2; n >= 1; --n) p = p * r + T(inverse_factorial(n));
  p = p * r;

  // The low bits of `shifted` hold k: move them into the exponent of 2^k.
  Bits bits;
  std::memcpy(&bits, &shifted, sizeof bits);
  bits = (bits + C::kBias) << C::kMantissaBits;
  Vec<T, L> scale;
  std::memcpy(&scale, &bits, sizeof scale);
  return scale * p + (scale - T(1));
}

constexpr double ln2_power_over_factorial(int n) {
  return n == 0 ? 1. : ln2_power_over_factorial(n - 1) * 0.69314718055994530942 / n;
}

// The logistic function of synapses, cheaper than sigmoid(), as there is one of them per link.
// Where x is so far from 0 that exp(x) or exp(-x) overflows, x is taken to be at that bound.
template <typename T, int L>
struct Logistic {
  Vec<T, L> value;       // y = 1 / (1 + exp(-x))
  Vec<T, L> complement;  // 1 - y = exp(-x) y, as exact as y itself

  explicit SE_INLINE Logistic(Vec<T, L> x) {
    const Vec<T, L> e = exp_of_minus(x);
    value = T(1) / (e + T(1));
    complement = e * value;
  }

 private:
  // -x log2(e) = k + r with |r| <= 1/2, then 2^k times a Taylor polynomial of 2^r.
  static SE_INLINE Vec<T, L> exp_of_minus(Vec<T, L> x) {
    using C = ExpConstants<T>;
    using Bits = Vec<typename C::Word, L>;
    constexpr T kLog2E = T(1.4426950408889634074);
    const Vec<T, L> most = Vec<T, L>{} + C::kSigmoidIsZero;
    x = most < x ? most : x;
    x = -most > x ? -most : x;
    const Vec<T, L> shifted = C::kRound - x * kLog2E;
    const Vec<T, L> k = shifted - C::kRound;
    const Vec<T, L> r = -x * kLog2E - k;
    Vec<T, L> p = r * T(ln2_power_over_factorial(C::kDegree - 1)) +
                  T(ln2_power_over_factorial(C::kDegree - 2));
    for (int n = C::kDegree - 3; n >= 0; --n) p = p * r + T(ln2_power_over_factorial(n));
    // The low bits of `shifted` hold k: add them to the exponent.
    Bits exponent, bits;
    std::memcpy(&exponent, &shifted, sizeof exponent);
    std::memcpy(&bits, &p, sizeof bits);
    bits += exponent << C::kMantissaBits;
    std::memcpy(&p, &bits, sizeof p);
    return p;
  }
};

// The functions that cells are made of (csrc/cells), of a vector of columns.
template <typename T, int L>
struct VectorMath {
  using Real = T;
  using Number = Vec<T, L>;
  using Logistic = sparse_engine::Logistic<T, L>;
  using Constants = ExpConstants<T>;

  // e / (e + 2) with e = exp(2|x|) - 1; within 2 units in the last place of the exact value.
  static SE_INLINE Number tanh(Number x) {
    const Number size = x < T(0) ? -x : x;
    const Number most = Number{} + Constants::kTanhIsOne;
    const Number e = expm1_positive<T, L>(T(2) * (size > most ? most : size));
    const Number y = e / (e + T(2));
    return x < T(0) ? -y : y;
  }

  // (e + 1) / (e + 2) with e = exp(|x|) - 1, or 1 / (e + 2) for x < 0: small values are as exact as
  // large ones.
  static SE_INLINE Number sigmoid(Number x) {
    const Number size = x < T(0) ? -x : x;
    const Number most = Number{} + Constants::kSigmoidIsZero, one = Number{} + T(1);
    const Number e = expm1_positive<T, L>(size > most ? most : size);
    return (x < T(0) ? one : e + T(1)) / (e + T(2));
  }

  // log(1 + exp(x)) = max(x, 0) + 2 artanh(s) with s = e / (e + 2) and e = exp(-|x|). The series of
  // artanh is short, as s is at most 1/3.
  static SE_INLINE Number softplus(Number x) {
    const Number e = exp_of_negative(x < T(0) ? x : -x), s = e / (e + T(2)), square = s * s;
    Number series = {};
    for (int n = Constants::kArtanhTerms - 1; n >= 0; --n)
      series = series * square + T(2. / (2 * n + 1));
    return (x < T(0) ? Number{} : x) + s * series;
  }

  // exp(x) for x <= 0; where it would underflow, the last value before that.
  static SE_INLINE Number exp_of_negative(Number x) {
    const Number most = Number{} + Constants::kSigmoidIsZero;
    return T(1) / (expm1_positive<T, L>(-x > most ? most : -x) + T(1));
  }
};

}  // namespace
}  // namespace sparse_engine
