// Where a warped voxel reads along one axis, and the weights of cubic B-splines, for the CPU and CUDA kernels.
#pragma once
#include "host_device.h"

namespace medseg {

// Axes are z, y, x; a 2-D map has one plane and no displacement along z.
struct WarpShape {
  int64_t batch, channels, dims;
  int64_t size[3], stride[3], points[3];
  int64_t batch_stride, channel_stride;  // of the map
  int64_t control_stride;                // to the control points of the next sample, 0 if they are shared
  bool nearest, border;
};

// A sampling position along one axis: value = low + fraction * (high - low), then fill + mask * (value - fill).
template <class T>
struct AxisPlace {
  int32_t low;      // voxel at or before the position
  int32_t step;     // to the next voxel: 1, or 0 at an axis of one voxel
  T fraction;       // of the way to the next voxel
  T inside;         // 1 where the value depends on the position, 0 where the position is clamped to the border
  T mask, dmask;    // share of the image in the mix with the fill value, and its derivative
};

// `position` in voxels on an axis of `size`; NaN counts as 0.
template <class T>
MS_HD AxisPlace<T> place_on_axis(T position, int32_t size, bool border) {
  AxisPlace<T> a;
  const T last = (T)(size - 1);
  T clamped = position > 0 ? position : (T)0;
  clamped = clamped < last ? clamped : last;
  const int32_t most = size > 1 ? size - 2 : 0;
  a.low = (int32_t)clamped;
  a.low = a.low < most ? a.low : most;
  a.step = size > 1 ? 1 : 0;
  a.fraction = clamped - (T)a.low;
  a.inside = position > 0 && position < last ? (T)1 : (T)0;
  const T outside = position < 0 ? -position : position > last ? position - last : (T)0;
  a.mask = border ? (T)1 : outside < 1 ? 1 - outside : (T)0;
  a.dmask = border || outside <= 0 || outside >= 1 ? (T)0 : position < 0 ? (T)1 : (T)-1;
  return a;
}

// Nearest voxel, halves go up; -1 outside of the image unless the border is repeated.
template <class T>
MS_HD int32_t nearest_on_axis(T position, int32_t size, bool border) {
  const T shifted = position + (T)0.5, last = (T)(size - 1);
  if (!border && !(shifted >= 0 && shifted < (T)size)) return -1;
  T clamped = shifted > 0 ? shifted : (T)0;
  clamped = clamped < last ? clamped : last;
  return (int32_t)clamped;
}

// Weights of the four control points around fraction f of a cell.
template <class T>
MS_HD void cubic_bspline(T f, T* w) {
  const T g = 1 - f;
  w[0] = g * g * g / 6;
  w[1] = (3 * f * f * f - 6 * f * f + 4) / 6;
  w[2] = (3 * g * g * g - 6 * g * g + 4) / 6;
  w[3] = f * f * f / 6;
}

// Control points beyond the grid repeat the ones at its edge.
MS_HD int32_t control_at(int32_t i, int32_t points) { return i < 0 ? 0 : i < points ? i : points - 1; }

}  // namespace medseg
