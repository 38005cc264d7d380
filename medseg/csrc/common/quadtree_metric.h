// The summary of a block from which the variation of larger blocks follows, and how the summaries of two blocks are merged.
#pragma once
#include "codes.h"
#include "host_device.h"

#if !defined(__CUDACC__)
#include <cmath>
#endif

namespace medseg {

// The larger one; NaN stays.
template <class T>
MS_HD T larger(T a, T b) {
  return (b > a || b != b) ? b : a;
}

template <class T>
MS_HD T smaller(T a, T b) {
  return (b < a || b != b) ? b : a;
}

// kGradientMax: a = largest mean of a cell. kGradientMean: a = sum. kVariance: a = mean, b = sum of squared deviations.
// kRange: a = maximum, b = minimum.
template <class T>
struct Summary {
  T a, b;
};

// Adds a block of m > 0 voxels to one of n.
template <class T>
MS_HD Summary<T> merge_summaries(Metric metric, Summary<T> left, int64_t n, Summary<T> right, int64_t m) {
  if (n == 0) return right;
  switch (metric) {
    case Metric::kGradientMax: return {larger(left.a, right.a), 0};
    case Metric::kGradientMean: return {left.a + right.a, 0};
    case Metric::kVariance: {
      const T delta = right.a - left.a, share = (T)m / (T)(n + m);
      return {left.a + delta * share, left.b + right.b + delta * delta * share * (T)n};
    }
    default: return {larger(left.a, right.a), smaller(left.b, right.b)};
  }
}

// The variation of a block of n > 0 voxels.
template <class T>
MS_HD T block_variation(Metric metric, Summary<T> s, int64_t n) {
  switch (metric) {
    case Metric::kGradientMax: return s.a;
    case Metric::kGradientMean: return s.a / (T)n;
    case Metric::kVariance: return s.b / (T)n;
    default: return s.a - s.b;
  }
}

// Bins per unit of the value; 0 for a constant image, NaN for one that is not finite.
template <class T>
MS_HD T bin_factor(T low, T high) {
  const T span = high - low, zero = span - span;
  return zero == 0 && span > 0 ? (T)kEntropyBins / span : zero;
}

template <class T>
MS_HD int histogram_bin(T value, T low, T factor) {
  const T bin = (value - low) * factor;
  return bin > 0 ? (bin < (T)(kEntropyBins - 1) ? (int)bin : kEntropyBins - 1) : 0;
}

// Entropy in nats of a histogram of n > 0 voxels.
template <class T>
MS_HD T histogram_entropy(const int32_t* bins, int64_t n) {
  T sum = 0;
  for (int k = 0; k < kEntropyBins; ++k)
    if (bins[k] > 0) {
      const T p = (T)bins[k] / (T)n;
#if defined(__CUDACC__)
      sum -= p * log(p);
#else
      sum -= p * std::log(p);
#endif
    }
  return sum;
}

}  // namespace medseg
