// Kernels of bspline_warp: weights along the axes, control points contracted to one line per output row, then the sampling.
#pragma once
#include "../common/warp_axis.h"
#include "launch.cuh"

namespace medseg {

// For every axis: the first control point of a voxel (it may lie outside of the grid, where the edge is repeated), and
// weight[j * size + voxel].
template <class T>
struct WarpTables {
  int32_t* first[3];
  T* weight[3];
};

template <class T>
__global__ void __launch_bounds__(256) warp_weights_kernel(int64_t size, int64_t points, double origin, double spacing,
                                                           int32_t* first, T* weight) {
  for (int64_t p = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; p < size; p += (int64_t)gridDim.x * blockDim.x) {
    const double t = ((double)p - origin) / spacing, cell = floor(t);
    double at = cell - 1;
    at = at < -3 ? -3 : at > (double)(points - 1) ? (double)(points - 1) : at;
    first[p] = (int32_t)at;
    double w[4];
    cubic_bspline(t - cell, w);
    for (int j = 0; j < 4; ++j) weight[j * size + p] = (T)w[j];
  }
}

// lines [B or 1, Sz, Sy, d, Gx]: control points contracted along z and y.
template <class T>
__global__ void __launch_bounds__(256) warp_lines_kernel(const T* control, WarpShape s, WarpTables<T> t, int64_t samples, T* lines) {
  const int64_t gz = s.points[0], gy = s.points[1], gx = s.points[2], count = samples * s.size[0] * s.size[1] * s.dims * gx;
  for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += (int64_t)gridDim.x * blockDim.x) {
    const int64_t g = i % gx, c = i / gx % s.dims, y = i / (gx * s.dims) % s.size[1];
    const int64_t z = i / (gx * s.dims * s.size[1]) % s.size[0], b = i / (gx * s.dims * s.size[1] * s.size[0]);
    const T* from = control + (b * s.dims + c) * gz * gy * gx + g;
    T total = 0;
    for (int k = 0; k < (s.dims == 3 ? 4 : 1); ++k) {
      const int32_t depth = s.dims == 3 ? control_at(t.first[0][z] + k, (int32_t)gz) : 0;
      T sum = 0;
      for (int j = 0; j < 4; ++j)
        sum += t.weight[1][j * s.size[1] + y] * from[(depth * gy + control_at(t.first[1][y] + j, (int32_t)gy)) * gx];
      total += (s.dims == 3 ? t.weight[0][k * s.size[0] + z] : (T)1) * sum;
    }
    lines[i] = total;
  }
}

// A voxel of the output and where it reads along z, y, x.
template <class T>
struct WarpVoxel {
  int64_t b, line, x;
  T position[3];
};

template <class T>
__device__ inline WarpVoxel<T> warp_voxel(int64_t i, const WarpShape& s, const WarpTables<T>& t, const T* lines) {
  const int64_t n = s.size[2], rows = s.size[0] * s.size[1], x = i % n, line = i / n % rows, b = i / n / rows;
  WarpVoxel<T> v{b, line, x, {(T)(line / s.size[1]), (T)(line % s.size[1]), (T)x}};
  const T* from = lines + ((s.control_stride == 0 ? 0 : b * rows) + line) * s.dims * s.points[2];
  for (int64_t c = 0; c < s.dims; ++c) {
    T u = 0;
    for (int j = 0; j < 4; ++j)
      u += t.weight[2][j * n + x] * from[c * s.points[2] + control_at(t.first[2][x] + j, (int32_t)s.points[2])];
    v.position[3 - s.dims + c] += u;
  }
  return v;
}

// The eight corners that a position reads, and the mask of the fill value.
template <class T>
struct WarpCorners {
  AxisPlace<T> at[3];

  __device__ WarpCorners(const WarpShape& s, const T* position) {
    for (int a = 0; a < 3; ++a) at[a] = place_on_axis<T>(position[a], (int32_t)s.size[a], s.border);
  }
  __device__ int64_t offset(const int64_t* stride, int k) const {
    int64_t o = 0;
    for (int a = 0; a < 3; ++a) o += stride[a] * (at[a].low + (k >> (2 - a) & 1) * at[a].step);
    return o;
  }
  // Weight of corner k along all axes but one (3: none is left out).
  __device__ T weight(int k, int without) const {
    T w = 1;
    for (int a = 0; a < 3; ++a)
      if (a != without) w *= k >> (2 - a) & 1 ? at[a].fraction : 1 - at[a].fraction;
    return w;
  }
  __device__ T mask() const { return at[0].mask * at[1].mask * at[2].mask; }
};

template <class T>
__device__ inline int64_t nearest_offset(const WarpShape& s, const int64_t* stride, const T* position) {
  int64_t o = 0;
  for (int a = 0; a < 3; ++a) {
    const int32_t k = nearest_on_axis<T>(position[a], (int32_t)s.size[a], s.border);
    if (k < 0) return -1;
    o += k * stride[a];
  }
  return o;
}

template <class T>
__global__ void __launch_bounds__(256) warp_linear_kernel(const T* x, WarpShape s, WarpTables<T> t, const T* lines, T fill, T* out) {
  const int64_t plane = s.size[0] * s.size[1] * s.size[2], count = s.batch * plane;
  for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += (int64_t)gridDim.x * blockDim.x) {
    const WarpVoxel<T> v = warp_voxel<T>(i, s, t, lines);
    const WarpCorners<T> corners(s, v.position);
    const T mask = corners.mask();
    for (int64_t c = 0; c < s.channels; ++c) {
      const T* from = x + v.b * s.batch_stride + c * s.channel_stride;
      T value = 0;
      for (int k = 0; k < 8; ++k) value += corners.weight(k, 3) * from[corners.offset(s.stride, k)];
      out[(v.b * s.channels + c) * plane + i % plane] = s.border ? value : fill + mask * (value - fill);
    }
  }
}

// U: an integer as wide as a value; `out` holds the fill value already.
template <class T, class U>
__global__ void __launch_bounds__(256) warp_nearest_kernel(const U* x, WarpShape s, WarpTables<T> t, const T* lines, U* out) {
  const int64_t plane = s.size[0] * s.size[1] * s.size[2], count = s.batch * plane;
  for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += (int64_t)gridDim.x * blockDim.x) {
    const WarpVoxel<T> v = warp_voxel<T>(i, s, t, lines);
    const int64_t offset = nearest_offset<T>(s, s.stride, v.position);
    if (offset < 0) continue;
    for (int64_t c = 0; c < s.channels; ++c)
      out[(v.b * s.channels + c) * plane + i % plane] = x[v.b * s.batch_stride + c * s.channel_stride + offset];
  }
}

}  // namespace medseg
