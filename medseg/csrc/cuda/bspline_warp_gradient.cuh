// Kernels of the gradient of bspline_warp. For the image, contributions are added as integers, in units of a power of two that
// depends on the largest gradient, so that their order does not matter. For the control points, the transpose is applied along
// one axis at a time.
#pragma once
#include "bspline_warp.cuh"

namespace medseg {

using Bits = unsigned long long;

// largest: bits of the largest |grad|; for values from 0 they are in the order of the values, NaN the largest.
template <class T>
__global__ void __launch_bounds__(256) warp_largest_kernel(const T* grad, int64_t count, Bits* largest) {
  Bits most = 0;
  for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += (int64_t)gridDim.x * blockDim.x) {
    const double value = fabs((double)grad[i]);
    Bits bits;
    memcpy(&bits, &value, sizeof bits);
    most = bits > most ? bits : most;
  }
  if (most > 0) atomicMax(largest, most);
}

// Power of two by which gradients are multiplied, such that `voxels` of the largest fit 63 bits; NaN if that is not finite.
__device__ inline double warp_unit(const Bits* largest, int64_t voxels) {
  double most;
  memcpy(&most, largest, sizeof most);
  if (!(most <= 1.7976931348623157e308)) return most - most;
  int exponent = 0, places = 0;
  frexp(most, &exponent);
  while (((int64_t)1 << places) < voxels) ++places;
  const int power = 61 - places - exponent;
  return most == 0 ? 1.0 : ldexp(1.0, power > 1000 ? 1000 : power);
}

template <class T>
__global__ void __launch_bounds__(256) warp_scatter_kernel(const T* grad, WarpShape s, WarpTables<T> t, const T* lines,
                                                           const Bits* largest, Bits* sums) {
  const int64_t plane = s.size[0] * s.size[1] * s.size[2], count = s.batch * plane;
  const int64_t stride[3] = {s.size[1] * s.size[2], s.size[2], 1};
  const double unit = warp_unit(largest, plane);
  if (unit != unit) return;
  for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += (int64_t)gridDim.x * blockDim.x) {
    const WarpVoxel<T> v = warp_voxel<T>(i, s, t, lines);
    const WarpCorners<T> corners(s, v.position);
    const int64_t nearest = s.nearest ? nearest_offset<T>(s, stride, v.position) : 0;
    for (int64_t c = 0; c < s.channels; ++c) {
      const int64_t map = (v.b * s.channels + c) * plane;
      const double value = (double)grad[map + i % plane] * unit;
      if (s.nearest) {
        if (nearest >= 0) atomicAdd(sums + map + nearest, (Bits)(long long)value);
        continue;
      }
      for (int k = 0; k < 8; ++k)
        atomicAdd(sums + map + corners.offset(stride, k), (Bits)(long long)(value * (double)(corners.mask() * corners.weight(k, 3))));
    }
  }
}

template <class T>
__global__ void __launch_bounds__(256) warp_unscale_kernel(const Bits* sums, const Bits* largest, int64_t voxels, int64_t count,
                                                           T* dx) {
  const double unit = warp_unit(largest, voxels);
  for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += (int64_t)gridDim.x * blockDim.x)
    dx[i] = (T)((double)(long long)sums[i] / unit);
}

// du [B, d, *S]: derivative of the loss by the displacement of every voxel.
template <class T>
__global__ void __launch_bounds__(256) warp_displacement_gradient_kernel(const T* grad, const T* x, WarpShape s, WarpTables<T> t,
                                                                         const T* lines, T fill, T* du) {
  const int64_t plane = s.size[0] * s.size[1] * s.size[2], count = s.batch * plane;
  for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += (int64_t)gridDim.x * blockDim.x) {
    const WarpVoxel<T> v = warp_voxel<T>(i, s, t, lines);
    const WarpCorners<T> corners(s, v.position);
    T d[3] = {0, 0, 0};
    for (int64_t c = 0; c < s.channels; ++c) {
      const T g = grad[(v.b * s.channels + c) * plane + i % plane];
      const T* from = x + v.b * s.batch_stride + c * s.channel_stride;
      T value = 0, slope[3] = {0, 0, 0};
      for (int k = 0; k < 8; ++k) {
        const T read = from[corners.offset(s.stride, k)];
        value += corners.weight(k, 3) * read;
        for (int a = 0; a < 3; ++a) slope[a] += (k >> (2 - a) & 1 ? read : -read) * corners.weight(k, a);
      }
      for (int a = 0; a < 3; ++a) {
        T others = 1;
        for (int o = 0; o < 3; ++o)
          if (o != a) others *= corners.at[o].mask;
        d[a] += g * (corners.mask() * corners.at[a].inside * slope[a] + corners.at[a].dmask * others * (value - fill));
      }
    }
    for (int64_t c = 0; c < s.dims; ++c) du[(v.b * s.dims + c) * plane + i % plane] = d[3 - s.dims + c];
  }
}

// out [outer, points, inner] = the transpose of the spline along one axis of in [repeats, outer, size, inner], over all repeats.
template <class T>
__global__ void __launch_bounds__(256) warp_adjoint_kernel(const T* in, int64_t repeats, int64_t outer, int64_t size, int64_t inner,
                                                           int64_t points, const int32_t* first, const T* weight, T* out) {
  const int64_t count = outer * points * inner;
  for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += (int64_t)gridDim.x * blockDim.x) {
    const int64_t k = i % inner, g = i / inner % points, o = i / inner / points;
    T sum = 0;
    for (int64_t r = 0; r < repeats; ++r)
      for (int64_t p = 0; p < size; ++p)
        for (int j = 0; j < 4; ++j)
          if (control_at(first[p] + j, (int32_t)points) == g)
            sum += weight[j * size + p] * in[((r * outer + o) * size + p) * inner + k];
    out[i] = sum;
  }
}

}  // namespace medseg
