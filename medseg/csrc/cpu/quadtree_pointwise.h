// What follows the convolution of a tile in quadtree_conv, and its gradient: activation, sign bits, normalisation.
#pragma once
#if defined(__SSE__)
#include <xmmintrin.h>
#endif

#include "quadtree_problem.h"

namespace medseg::cpu {

// (Leaky) ReLU of n values; NaN stays NaN. Written so that the compiler can vectorise it: a branch on the sign of every value
// would take longer than the convolution.
template <class T>
void activate(T* v, int64_t n, T slope) {
  const T zero(0);
  if (slope == zero) {
    for (int64_t i = 0; i < n; ++i) v[i] = zero > v[i] ? zero : v[i];
    return;
  }
  for (int64_t i = 0; i < n; ++i) {
    const T up = zero > v[i] ? zero : v[i], down = zero > v[i] ? v[i] : zero;
    v[i] = up + down * slope;
  }
}

// Factor of its gradient.
template <class T>
inline T activation_factor(T value, T slope) {
  return value > T(0) ? T(1) : slope;
}

// Bits of v[0..8) above zero.
template <class T>
inline uint8_t sign_byte(const T* v) {
#if defined(__SSE__)
  if constexpr (std::is_same_v<T, float>) {
    const __m128 zero = _mm_setzero_ps();
    const int low = _mm_movemask_ps(_mm_cmpgt_ps(_mm_loadu_ps(v), zero));
    return (uint8_t)(low | _mm_movemask_ps(_mm_cmpgt_ps(_mm_loadu_ps(v + 4), zero)) << 4);
  }
#endif
  uint8_t bits = 0;
  for (int i = 0; i < 8; ++i) bits |= (uint8_t)((v[i] > T(0)) << i);
  return bits;
}

// Bits first .. first + n of a row that starts as zeros.
template <class T>
void write_signs(const T* v, int64_t n, int64_t first, uint8_t* bits) {
  int64_t i = 0;
  if (first % 8 == 0)
    for (; i + 8 <= n; i += 8) bits[(first + i) / 8] = sign_byte(v + i);
  for (; i < n; ++i) bits[(first + i) / 8] |= (uint8_t)((v[i] > T(0)) << (first + i) % 8);
}

// g[i] *= 1 where bit first + i is set, slope elsewhere. table: [256][8] factors.
template <class T>
void scale_by_signs(T* g, int64_t n, int64_t first, const uint8_t* bits, const T* table) {
  int64_t i = 0;
  if (first % 8 == 0)
    for (; i + 8 <= n; i += 8) {
      const T* f = table + bits[(first + i) / 8] * 8;
      for (int j = 0; j < 8; ++j) g[i + j] *= f[j];
    }
  for (; i < n; ++i) g[i] *= table[bits[(first + i) / 8] * 8 + (first + i) % 8];
}

template <class T>
std::vector<T> sign_factors(T slope) {
  std::vector<T> table(256 * 8);
  for (int b = 0; b < 256; ++b)
    for (int j = 0; j < 8; ++j) table[b * 8 + j] = b >> j & 1 ? T(1) : slope;
  return table;
}

// Mean and sum of squared deviations of n values a channel, merged pairwise (Chan, Golub, LeVeque 1979).
template <class T>
struct Moments {
  double n = 0;
  std::vector<double> mean, square;

  explicit Moments(int64_t channels = 0) : mean(channels, 0.0), square(channels, 0.0) {}

  void merge(double count, const T* other_mean, const T* other_square) {
    if (count == 0) return;
    const double total = n + count;
    for (size_t c = 0; c < mean.size(); ++c) {
      const double step = (double)other_mean[c] - mean[c];
      mean[c] += step * (count / total);
      square[c] += (double)other_square[c] + step * step * (n * count / total);
    }
    n = total;
  }
};

// v = (u - mean) * factor + shift: normalisation, scale and shift of a channel in one step.
template <class T>
struct Affine {
  std::vector<T> mean, rstd, factor, shift;

  // stats: mean and rstd of every channel; scale and shift may be null.
  Affine(const T* stats, const T* scale, const T* shift_in, int64_t channels)
      : mean(stats, stats + channels), rstd(stats + channels, stats + 2 * channels), factor(rstd), shift(channels) {
    for (int64_t c = 0; c < channels; ++c) {
      if (scale != nullptr) factor[c] *= scale[c];
      if (shift_in != nullptr) shift[c] = shift_in[c];
    }
  }
  void apply(T* u, int64_t channels) const {
    for (int64_t c = 0; c < channels; ++c) u[c] = (u[c] - mean[c]) * factor[c] + shift[c];
  }
};

}  // namespace medseg::cpu
