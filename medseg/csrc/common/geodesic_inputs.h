// Checks of the inputs of geodesic_distance (stable ABI; never included by a kernel).
#pragma once
#include "geodesic_shape.h"
#include "op_inputs.h"

namespace medseg {

inline GeodesicChoice check_geodesic_distance(const char* op, const Tensor& image, const Tensor& seeds,
                                              const std::vector<double>& spacing, double weight, int64_t cost, int64_t sweeps,
                                              double limit) {
  const int64_t dims = image.dim() - 2;
  const ScalarType type = image.scalar_type();
  require(dims == 2 || dims == 3, op, "image must be [B, C, H, W] or [B, C, D, H, W]");
  require(type == ScalarType::Float || type == ScalarType::Double, op, "image must be float32 or float64");
  require(seeds.scalar_type() == ScalarType::Bool && seeds.dim() == image.dim() && seeds.size(0) == image.size(0), op,
          "seeds must be bool [B, K, *S]");
  require((int64_t)spacing.size() == dims && (cost == 0 || cost == 1) && sweeps >= 0, op,
          "spacing, cost or sweeps are out of range");
  GeodesicChoice choice{{1, 1, 1}, {1, 1, 1}, image.size(1), weight, cost == 1, sweeps, limit};
  for (int64_t i = 0; i < dims; ++i) {
    require(seeds.size(2 + i) == image.size(2 + i), op, "seeds and image differ in size");
    choice.size[3 - dims + i] = image.size(2 + i);
    choice.spacing[3 - dims + i] = spacing[i];
  }
  require(choice.channels > 0 && choice.size[0] * choice.size[1] * choice.size[2] > 0, op, "image is empty");
  return choice;
}

}  // namespace medseg
