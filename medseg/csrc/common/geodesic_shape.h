// What one call of geodesic_distance asks for, and the order in which a set of sweeps visits a volume. Plain C++, for the
// CPU op and the CUDA kernels.
#pragma once
#include <cmath>
#include <cstdint>

namespace medseg {

// The same for all volumes of a call.
struct GeodesicChoice {
  int64_t size[3];    // z, y, x; a missing z is 1
  double spacing[3];
  int64_t channels;
  double weight;      // of the intensities
  bool harmonic;
  int64_t sweeps;     // 0: until nothing changes
  double limit;       // distance where no seed has reached
};

// A volume in the order of one set of sweeps: `planes` are visited in turn, each of `rows` rows of `n` voxels.
struct GeodesicGrid {
  int64_t planes, plane, rows, row, n;  // plane, row: strides
  int64_t axis[3];                      // of planes, rows and voxels, for their spacing
};

// Lengths of the nine steps from the plane before, by (row, voxel) offset. For the additive cost they include the factor
// 1 - weight.
template <class T>
void geodesic_steps(const GeodesicChoice& c, const GeodesicGrid& g, T* step) {
  for (int64_t row = 0; row < 3; ++row)
    for (int64_t side = 0; side < 3; ++side) {
      const double a = c.spacing[g.axis[0]], b = (row - 1) * c.spacing[g.axis[1]], e = (side - 1) * c.spacing[g.axis[2]];
      step[3 * row + side] = (T)(std::sqrt(a * a + b * b + e * e) * (c.harmonic ? 1.0 : 1.0 - c.weight));
    }
}

}  // namespace medseg
