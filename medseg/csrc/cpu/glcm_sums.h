// The sums over the pairs of a window from which the linear features of local_glcm follow, and their gradient.
#pragma once
#include <cmath>

#include "texture_strips.h"

namespace medseg::cpu {

// One map in float64: `value` is the grey level minus a middle one (0 for voxels that do not count), `valid` is 1 for voxels that
// count and 0 for others, `level` is the whole level (-1 for voxels that do not count).
struct LevelMap {
  std::vector<double> value, valid;
  std::vector<int16_t> level;
};

template <class T>
LevelMap level_map(const T* x, const bool* mask, int64_t levels, int64_t voxels) {
  LevelMap m{std::vector<double>(voxels), std::vector<double>(voxels), std::vector<int16_t>(voxels)};
  // Moments of third and fourth order about a middle level lose fewer digits; a whole number keeps whole levels exact.
  const double middle = (double)(levels / 2);
  torch::stable::parallel_for(0, voxels, grain(8), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const double v = (double)x[i];
      const bool counts = std::isfinite(v) && (mask == nullptr || mask[i]);
      m.value[i] = counts ? v - middle : 0.0;
      m.valid[i] = counts ? 1.0 : 0.0;
      const double nearest = std::min(std::max(std::floor(v + 0.5), 0.0), (double)(levels - 1));
      m.level[i] = counts ? (int16_t)nearest : (int16_t)-1;
    }
  });
  return m;
}

// Where the pairs of one offset lie: the columns that a first voxel may have, and the spans of the window.
struct PairRows {
  PairOffset offset;
  int64_t first, last, left, width;  // left: of a column sum's place; width: columns of the window
  Span deep, rows;

  PairRows(const TextureShape& s, const PairOffset& o)
      : offset(o), first(std::max<int64_t>(0, -o.step[2])), last(s.size[2] - std::max<int64_t>(0, o.step[2])),
        left(std::max<int64_t>(0, -o.step[2])), width(2 * s.radius[2] + 1 - std::abs(o.step[2])),
        deep(pair_span(s.radius[0], o.step[0])), rows(pair_span(s.radius[1], o.step[1])) {}

  // Place of the second voxel's row, or -1 if it is not in the image.
  int64_t second_row(const TextureShape& s, int64_t z, int64_t y) const {
    const int64_t bz = z + offset.step[0], by = y + offset.step[1];
    return bz < 0 || bz >= s.size[0] || by < 0 || by >= s.size[1] ? -1 : bz * s.size[1] + by;
  }
};

// Column sums of a strip with room for the window on both sides, and the window sums of one row.
struct SumRows {
  int64_t width, padded;
  std::vector<double> column, scratch, sums;
  SumRows(const TextureShape& s)
      : width(s.size[2]), padded(s.size[2] + 2 * s.radius[2]), column(kPairSums * padded), scratch(padded),
        sums(kPairSums * width) {}
};

// Calls each(y, sums) for every row of the strip, sums[k * width + x] being sum k of the window around (y, x).
template <class Each>
void pair_sums(const TextureShape& s, const TextureTable& table, const LevelMap& m, const PairRows& p, const Strip& strip,
               bool count_only, SumRows& r, const Each& each) {
  const int64_t n = p.last - p.first, shift = p.offset.step[2], kinds = count_only ? 1 : (int64_t)kPairSums;
  std::fill(r.column.begin(), r.column.end(), 0.0);
  for (int64_t y = strip.first; y < strip.last; ++y) {
    slide_to(s, p.deep, p.rows, strip.z, y, y == strip.first, [&](int64_t z, int64_t row, int sign) {
      const int64_t second = p.second_row(s, z, row);
      if (second < 0 || n <= 0) return;
      const int64_t a = (z * s.size[1] + row) * s.size[2] + p.first, b = second * s.size[2] + p.first + shift;
      double* column = r.column.data() + s.radius[2] + p.first;
      if (count_only) table.pair_count_row(m.valid.data() + a, m.valid.data() + b, sign, n, column);
      else
        table.pair_row(m.value.data() + a, m.value.data() + b, m.valid.data() + a, m.valid.data() + b, sign, n, column, r.padded);
    });
    for (int64_t k = 0; k < kinds; ++k)
      table.window_sums(r.column.data() + k * r.padded + p.left, r.width, p.width, r.scratch.data(), r.sums.data() + k * r.width);
    each(y, r.sums.data());
  }
}

}  // namespace medseg::cpu
