// What one pair adds to a window's sums, the linear features of those sums, and both derivatives, in float64.
#pragma once
#include "../common/glcm_pair_sums.h"
#include "launch.cuh"

namespace medseg {

// Below this share of the mean square, the variance of a window is rounding error: its grey level is constant.
constexpr double kConstantShare = 1e-12;

__device__ __forceinline__ void add_pair(double a, double b, double sign, double* sums) {
  const double d = a - b, t = a + b, dd = d * d, tt = t * t;
  sums[kPairs] += sign;
  sums[kAbsolute] += sign * fabs(d);
  sums[kSquare] += sign * dd;
  sums[kInverse] += sign / (1.0 + dd);
  sums[kT1] += sign * t;
  sums[kT2] += sign * tt;
  sums[kT3] += sign * (tt * t);
  sums[kT4] += sign * (tt * tt);
}

// Spread of a window's levels times count^2, so that whole levels give the exact variance: of the sums and of the differences.
struct PairSpread {
  double u, c;
  bool varies;

  __device__ __forceinline__ explicit PairSpread(const double* s)
      : u(s[kPairs] * s[kT2] - s[kT1] * s[kT1]), c(s[kPairs] * s[kSquare]),
        varies(u + c > kConstantShare * s[kPairs] * (s[kT2] + s[kSquare])) {}
};

// The features in the order of LinearFeature; all 0 without a pair.
__device__ __forceinline__ void linear_features(const double* s, double* features) {
  for (int f = 0; f < kLinearFeatures; ++f) features[f] = 0;
  if (!(s[kPairs] > 0)) return;
  const double per = 1.0 / s[kPairs], m1 = s[kT1] * per, m2 = s[kT2] * per, m3 = s[kT3] * per, m4 = s[kT4] * per;
  const PairSpread spread(s);
  features[kContrast] = s[kSquare] * per;
  features[kDissimilarity] = s[kAbsolute] * per;
  features[kHomogeneity] = s[kInverse] * per;
  features[kCorrelation] = spread.varies ? (spread.u - spread.c) / (spread.u + spread.c) : 1.0;
  features[kShade] = m3 - 3 * m1 * m2 + 2 * m1 * m1 * m1;
  features[kProminence] = m4 - 4 * m1 * m3 + 6 * m1 * m1 * m2 - 3 * m1 * m1 * m1 * m1;
}

// slopes[k - 1] = sum over f of gradient[f] * (d feature f / d sum k), k from kAbsolute on.
__device__ __forceinline__ void feature_slopes(const double* s, const double* gradient, double* slopes) {
  for (int k = kAbsolute; k < kPairSums; ++k) slopes[k - 1] = 0;
  if (!(s[kPairs] > 0)) return;
  const double per = 1.0 / s[kPairs], m1 = s[kT1] * per, m2 = s[kT2] * per, m3 = s[kT3] * per, c = s[kSquare] * per;
  const double u = m2 - m1 * m1, below = u + c;
  const double correlation = PairSpread(s).varies ? gradient[kCorrelation] / (below * below) : 0.0;
  const double by_u = 2 * c * correlation, by_c = -2 * u * correlation;
  const double shade = gradient[kShade], prominence = gradient[kProminence];
  slopes[kAbsolute - 1] = per * gradient[kDissimilarity];
  slopes[kSquare - 1] = per * (gradient[kContrast] + by_c);
  slopes[kInverse - 1] = per * gradient[kHomogeneity];
  slopes[kT1 - 1] = per * (-2 * m1 * by_u + shade * (6 * m1 * m1 - 3 * m2) +
                           prominence * (12 * m1 * m2 - 4 * m3 - 12 * m1 * m1 * m1));
  slopes[kT2 - 1] = per * (by_u - 3 * m1 * shade + 6 * m1 * m1 * prominence);
  slopes[kT3 - 1] = per * (shade - 4 * m1 * prominence);
  slopes[kT4 - 1] = per * prominence;
}

// Gradients of a pair's two values from the slopes summed over all windows that hold it.
struct PairGradient {
  double first, second;
};

__device__ __forceinline__ PairGradient pair_gradient(double a, double b, const double* slopes) {
  const double d = a - b, t = a + b, below = 1.0 + d * d, sign = d > 0 ? 1.0 : d < 0 ? -1.0 : 0.0;
  const double by_d = sign * slopes[kAbsolute - 1] + 2 * d * slopes[kSquare - 1] - 2 * d / (below * below) * slopes[kInverse - 1];
  const double by_t = slopes[kT1 - 1] + 2 * t * slopes[kT2 - 1] + 3 * t * t * slopes[kT3 - 1] + 4 * t * t * t * slopes[kT4 - 1];
  return {by_t + by_d, by_t - by_d};
}

}  // namespace medseg
