// Checks of the inputs of geodesic_distance (stable ABI; never included by a kernel).
#pragma once
#include "codes.h"
#include "geodesic_shape.h"
#include "op_inputs.h"

namespace medseg {

inline GeodesicChoice check_geodesic_distance(const char* op, const Tensor& image, const Tensor& seeds,
                                              const std::vector<double>& spacing, double weight, int64_t cost, int64_t sweeps,
                                              double limit) {
  const int64_t dims = image.dim() - 2;
  require(dims == 2 || dims == 3, op, "image must be [B, C, H, W] or [B, C, D, H, W]");
  require_float32_or_64(op, "image", image);
  require(seeds.scalar_type() == ScalarType::Bool && seeds.dim() == image.dim() && seeds.size(0) == image.size(0), op,
          "seeds must be bool [B, K, *S]");
  require((int64_t)spacing.size() == dims && (cost == kAdditive || cost == kHarmonic) && sweeps >= 0, op,
          "spacing, cost or sweeps are out of range");
  GeodesicChoice choice{{1, 1, 1}, {1, 1, 1}, image.size(1), weight, cost == kHarmonic, sweeps, limit};
  for (int64_t i = 0; i < dims; ++i) {
    require(seeds.size(2 + i) == image.size(2 + i), op, "seeds and image differ in size");
    choice.size[3 - dims + i] = image.size(2 + i);
    choice.spacing[3 - dims + i] = spacing[i];
  }
  require(choice.channels > 0 && choice.size[0] * choice.size[1] * choice.size[2] > 0, op, "image is empty");
  return choice;
}

}  // namespace medseg
