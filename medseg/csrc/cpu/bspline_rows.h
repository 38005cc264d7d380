// Displacements, one output row after the other: control points are contracted along z for each plane, along y for each row,
// and along x by the vector kernels.
#pragma once
#include "../common/warp_inputs.h"
#include "kernel_tables.h"

namespace medseg::cpu {

// The first of the four control points of a voxel (it may lie outside of the grid, where the edge is repeated), and the weights:
// w[j * size + voxel].
struct AxisWeights {
  std::vector<int32_t> first;
  std::vector<double> weight;

  AxisWeights(int64_t size, int64_t points, double origin, double spacing) : first(size), weight(4 * size) {
    for (int64_t p = 0; p < size; ++p) {
      const double t = ((double)p - origin) / spacing, cell = std::floor(t);
      double at = cell - 1;  // from -3 down and from points - 1 up all four are the one at the edge
      at = at < -3 ? -3 : at > (double)(points - 1) ? (double)(points - 1) : at;
      first[p] = (int32_t)at;
      double w[4];
      cubic_bspline(t - cell, w);
      for (int j = 0; j < 4; ++j) weight[j * size + p] = w[j];
    }
  }
};

// What is the same for all rows: weights, and the runs of voxels along x that share their control points.
template <class T>
struct WarpPlan {
  WarpShape s;
  const WarpTable<T>& table = warp_table<T>();
  std::vector<AxisWeights> axis;
  std::vector<T> along_x;
  std::vector<int32_t> starts, cells;

  WarpPlan(const WarpShape& shape, const std::vector<double>& origin, const std::vector<double>& spacing) : s(shape) {
    for (int64_t a = 0; a < 3; ++a) {
      const int64_t i = a - 3 + s.dims;
      axis.emplace_back(s.size[a], s.points[a], i < 0 ? 0.0 : origin[i], i < 0 ? 1.0 : spacing[i]);
    }
    along_x.assign(axis[2].weight.begin(), axis[2].weight.end());
    for (int64_t x = 0; x < s.size[2]; ++x)
      if (x == 0 || axis[2].first[x] != axis[2].first[x - 1]) {
        starts.push_back((int32_t)x);
        cells.push_back(axis[2].first[x] + 3);
      }
    starts.push_back((int32_t)s.size[2]);
  }
};

template <class T>
class RowDisplacement {
 public:
  RowDisplacement(const WarpPlan<T>& plan, const T* control)
      : plan_(plan), control_(control), plane_(plan.s.dims * plan.s.points[1] * plan.s.points[2]), line_(plan.s.points[2] + 6),
        rows_(3 * plan.s.size[2]) {}

  // u[axis][x] in voxels for the output row (b, z, y); zero along z in two dimensions.
  const T* const* row(int64_t b, int64_t z, int64_t y) {
    const WarpShape& s = plan_.s;
    if (b != batch_ || z != z_) contract_plane(b, z);
    batch_ = b;
    z_ = z;
    const AxisWeights& w = plan_.axis[1];
    for (int64_t a = 0; a < 3; ++a) {
      at_[a] = rows_.data() + a * s.size[2];
      if (a < 3 - s.dims) continue;
      for (int64_t g = 0; g < s.points[2] + 6; ++g) {
        const int64_t column = control_at((int32_t)(g - 3), (int32_t)s.points[2]);
        T sum = 0;
        for (int j = 0; j < 4; ++j)
          sum += (T)w.weight[j * s.size[1] + y] * plane_[plane_index(a, control_at(w.first[y] + j, (int32_t)s.points[1])) + column];
        line_[g] = sum;
      }
      plan_.table.spread(line_.data(), plan_.starts.data(), plan_.cells.data(), (int64_t)plan_.cells.size(),
                         plan_.along_x.data(), s.size[2], rows_.data() + a * s.size[2]);
    }
    return at_;
  }

 private:
  int64_t plane_index(int64_t axis, int64_t y) const {
    return ((axis - 3 + plan_.s.dims) * plan_.s.points[1] + y) * plan_.s.points[2];
  }

  void contract_plane(int64_t b, int64_t z) {
    const WarpShape& s = plan_.s;
    const int64_t count = s.points[1] * s.points[2];
    const T* from = control_ + b * s.control_stride;
    const AxisWeights& w = plan_.axis[0];
    for (int64_t c = 0; c < s.dims; ++c)
      for (int64_t i = 0; i < count; ++i) {
        const T* column = from + c * s.points[0] * count + i;
        T sum = column[0];
        if (s.dims == 3) {
          sum = 0;
          for (int j = 0; j < 4; ++j)
            sum += (T)w.weight[j * s.size[0] + z] * column[control_at(w.first[z] + j, (int32_t)s.points[0]) * count];
        }
        plane_[c * count + i] = sum;
      }
  }

  const WarpPlan<T>& plan_;
  const T* control_;
  std::vector<T> plane_, line_, rows_;
  const T* at_[3];
  int64_t batch_ = -1, z_ = -1;
};

}  // namespace medseg::cpu
