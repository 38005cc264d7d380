// How the kernels of local_histogram and local_glcm sum over windows: columns first, by sums that slide down strips of rows,
// then across the columns. The cost of the first does not depend on the rows of a window.
#pragma once
#include "../common/texture_shape.h"
#include "launch.cuh"

namespace medseg {

// Rows of a strip. The number is fixed, so that the sliding sums round in the same way on every device.
constexpr int64_t kStripRows = 32;

// Largest scratch memory of one call, unless a single map needs more.
constexpr int64_t kTextureScratch = (int64_t)256 << 20;

// Planes [planes, *size], and the window as spans of slices, rows and columns around its centre.
struct TextureBox {
  int64_t planes, size[3];
  Span deep, rows, across;

  MS_HD int64_t plane() const { return size[0] * size[1] * size[2]; }
  MS_HD int64_t strips() const { return (size[1] + kStripRows - 1) / kStripRows; }
  MS_HD int64_t columns() const { return planes * size[0] * strips() * size[2]; }  // of all strips
};

inline TextureBox texture_box(const TextureShape& s, int64_t planes) {
  return {planes, {s.size[0], s.size[1], s.size[2]}, whole_span(s.radius[0]), whole_span(s.radius[1]), whole_span(s.radius[2])};
}

// Number of maps that are computed at once if each needs `bytes` of scratch memory.
inline int64_t maps_at_once(int64_t maps, int64_t bytes) {
  return std::clamp<int64_t>(kTextureScratch / std::max<int64_t>(bytes, 1), 1, std::max<int64_t>(maps, 1));
}

// Rows [first, last) of one column of a slice.
struct ColumnRun {
  int64_t plane, z, first, last, x;
};

__device__ __forceinline__ ColumnRun column_run(const TextureBox& b, int64_t i) {
  const int64_t x = i % b.size[2], strip = i / b.size[2] % b.strips(), z = i / (b.size[2] * b.strips()) % b.size[0];
  const int64_t first = strip * kStripRows, end = first + kStripRows;
  return {i / (b.size[2] * b.strips() * b.size[0]), z, first, end < b.size[1] ? end : b.size[1], x};
}

// For every row of the run: sums[k] over the window's rows in this column, then store(y, sums). add(z, y, sign, sums) adds or
// takes away one row.
template <class Sum, int kSums, class Add, class Store>
__device__ __forceinline__ void slide_down(const TextureBox& b, const ColumnRun& run, const Add& add, const Store& store) {
  const int64_t front = run.z + b.deep.low < 0 ? 0 : run.z + b.deep.low;
  const int64_t back = run.z + b.deep.high >= b.size[0] ? b.size[0] - 1 : run.z + b.deep.high;
  Sum sums[kSums];
  for (int k = 0; k < kSums; ++k) sums[k] = 0;
  for (int64_t y = run.first; y < run.last; ++y) {
    // The first row of a run adds all rows of its window, a later one removes a row and adds one.
    const bool fresh = y == run.first;
    const int64_t low = y + b.rows.low, high = y + b.rows.high, changes = fresh ? high - low + 1 : 2;
#pragma unroll 1  // unrolled, the loops would need more registers than there are
    for (int64_t z = front; z <= back; ++z) {
#pragma unroll 1
      for (int64_t c = 0; c < changes; ++c) {
        const int64_t row = fresh ? low + c : c == 0 ? low - 1 : high;
        if (row >= 0 && row < b.size[1]) add(z, row, fresh || c == 1 ? 1 : -1, sums);
      }
    }
    store(y, sums);
  }
}

// Sum of a row over the columns of the window around x.
template <class Sum>
__device__ __forceinline__ Sum sum_across(const TextureBox& b, const Sum* row, int64_t x) {
  const int64_t low = x + b.across.low < 0 ? 0 : x + b.across.low;
  const int64_t high = x + b.across.high >= b.size[2] ? b.size[2] - 1 : x + b.across.high;
  Sum total = 0;
  for (int64_t at = low; at <= high; ++at) total += row[at];
  return total;
}

}  // namespace medseg
