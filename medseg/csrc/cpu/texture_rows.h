// The loops over image rows of local_histogram and local_glcm, one table for each instruction set (see isa.h). They compute in
// float64 or in whole numbers.
#pragma once
#include <cstdint>

#include "../common/glcm_pair_sums.h"

namespace medseg {

struct TextureTable {
  // column[x] += sign * (code[x] == bin); with bin -1: sign * (code[x] >= 0).
  void (*count_row)(const int16_t* code, int16_t bin, int32_t sign, int64_t n, int32_t* column);
  // column[x] += sign * what voxel x gives to bin: 1 - share to its lower bin, share to the one above.
  void (*share_row)(const int16_t* lower, const double* share, int16_t bin, double sign, int64_t n, double* column);
  // out[x] = column[x] + ... + column[x + width - 1] for x < n. scratch: n + width - 1 values.
  void (*window_counts)(const int32_t* column, int64_t n, int64_t width, int32_t* scratch, int32_t* out);
  void (*window_sums)(const double* column, int64_t n, int64_t width, double* scratch, double* out);
  // column[x] += sign * (next[x] - at[x]) * inverse[x], the gradient of a share moved from one bin to the next.
  void (*difference_row)(const double* at, const double* next, const double* inverse, double sign, int64_t n,
                         double* column);
  // column[s * stride + x] += sign * sum s of the pair (a[x], b[x]) where both are valid (1, else 0).
  void (*pair_row)(const double* a, const double* b, const double* a_valid, const double* b_valid, double sign, int64_t n,
                   double* column, int64_t stride);
  // column[x] += sign where both are valid.
  void (*pair_count_row)(const double* a_valid, const double* b_valid, double sign, int64_t n, double* column);
  // features[f * stride + x] of sums[s * stride + x]; 0 where there is no pair.
  void (*feature_row)(const double* sums, int64_t stride, int64_t n, double* features);
  // slopes[s * stride + x] = sum over f of gradient[f * stride + x] * (d feature f / d sum s).
  void (*slope_row)(const double* sums, const double* gradient, int64_t stride, int64_t n, double* slopes);
  // da[x], db[x]: gradients of a pair's values from the slopes summed over all windows that hold the pair.
  void (*pair_gradient_row)(const double* a, const double* b, const double* a_valid, const double* b_valid,
                            const double* slopes, int64_t stride, int64_t n, double* da, double* db);
  const char* name;
};

extern const TextureTable texture_generic;
#if defined(__x86_64__)
extern const TextureTable texture_avx2;
extern const TextureTable texture_avx512;
#endif

}  // namespace medseg
