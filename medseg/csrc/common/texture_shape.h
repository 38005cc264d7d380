// Windows, offsets and bins of local_histogram and local_glcm. Plain C++, for the CPU ops and the CUDA kernels.
#pragma once
#include <algorithm>
#include <cstdint>

namespace medseg {

// Maps [maps, *size] with depth 1 in two dimensions, and the half width of the window along each axis.
struct TextureShape {
  int64_t maps, dims, size[3], radius[3];
  int64_t plane() const { return size[0] * size[1] * size[2]; }
  int64_t window() const { return (2 * radius[0] + 1) * (2 * radius[1] + 1) * (2 * radius[2] + 1); }
};

// Both ends, inclusive, of a run of rows or columns around a centre.
struct Span {
  int64_t low, high;
};

inline Span whole_span(int64_t radius) { return {-radius, radius}; }

// Where the first voxel of a pair may lie, relative to the centre of a window, so that both voxels lie in the window.
inline Span pair_span(int64_t radius, int64_t offset) {
  return {-radius + std::max<int64_t>(0, -offset), radius - std::max<int64_t>(0, offset)};
}

struct PairOffset {
  int64_t step[3];
};

struct Bins {
  int64_t count;
  double low, high;
  bool soft;
};

// Shares of soft bins are rounded to this, so that their sums are exact and a bin that empties is exactly empty.
constexpr double kShareUnit = 1099511627776.0;  // 2^40

// c ln c is summed as whole numbers in this unit, so that adding a pair and removing it again gives exactly the same sum.
constexpr double kEntropyUnit = 1099511627776.0;  // 2^40

}  // namespace medseg
