// Kernels of local_histogram: the bin of every voxel, sums of columns for every bin, then shares; and the gradient. Counts and
// shares are summed as whole numbers, which no order changes.
#pragma once
#include "texture_columns.cuh"

namespace medseg {

// Where a voxel lies: its lower bin (-1: not counted), the share of the bin above in units of 1 / kShareUnit, and whether the
// share depends on the value.
struct BinPlace {
  int16_t code;
  int64_t share;
  bool slopes;
};

__device__ __forceinline__ BinPlace bin_place(double value, bool inside, const Bins& b) {
  if (!inside || !(value >= b.low && value <= b.high)) return {-1, 0, false};
  const double position = (value - b.low) * (double)b.count / (b.high - b.low), last = (double)(b.count - 1);
  if (!b.soft) return {(int16_t)(position < last ? position : last), 0, false};
  const double inner = position - 0.5, place = inner < 0 ? 0 : inner > last ? last : inner;
  const int16_t code = (int16_t)(place < last - 1 ? place : last - 1);
  return {code, (int64_t)rint((place - code) * kShareUnit), inner >= 0 && inner <= last};
}

template <class T>
__global__ void __launch_bounds__(256) histogram_bins_kernel(const T* x, const bool* mask, Bins b, int64_t count, int16_t* code,
                                                             int64_t* share) {
  for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += (int64_t)gridDim.x * blockDim.x) {
    const BinPlace place = bin_place((double)x[i], mask == nullptr || mask[i], b);
    code[i] = place.code;
    if (b.soft) share[i] = place.share;
  }
}

// Columns [maps, bins, *size] of bins first, first + 1, ...; box.planes is maps * bins. Sum: int32_t counts voxels (bin -1:
// those of every bin), int64_t sums shares.
template <class Sum>
__global__ void __launch_bounds__(256) histogram_columns_kernel(const int16_t* codes, const int64_t* shares, TextureBox box,
                                                                int64_t first, int64_t bins, Sum* columns) {
  const int64_t plane = box.plane();
  for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < box.columns(); i += (int64_t)gridDim.x * blockDim.x) {
    const ColumnRun run = column_run(box, i);
    const int64_t map = run.plane / bins * plane;
    const int bin = (int)(first + run.plane % bins);
    const auto add = [&](int64_t z, int64_t y, int sign, Sum* sums) {
      const int64_t at = map + (z * box.size[1] + y) * box.size[2] + run.x;
      const int code = codes[at];
      if constexpr (sizeof(Sum) == 4) sums[0] += (bin < 0 ? code >= 0 : code == bin) ? sign : 0;
      else if (code >= 0 && (code == bin || code == bin - 1))
        sums[0] += sign * (code == bin ? (int64_t)kShareUnit - shares[at] : shares[at]);
    };
    Sum* out = columns + run.plane * plane + run.z * box.size[1] * box.size[2] + run.x;
    slide_down<Sum, 1>(box, run, add, [&](int64_t y, const Sum* sums) { out[y * box.size[2]] = sums[0]; });
  }
}

// One over the voxels that a window counts, 0 without any; columns of bin -1.
__global__ void __launch_bounds__(256) histogram_inverse_kernel(const int32_t* columns, TextureBox box, double* inverse) {
  const int64_t width = box.size[2], count = box.planes * box.plane();
  for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += (int64_t)gridDim.x * blockDim.x) {
    const int32_t voxels = sum_across(box, columns + i / width * width, i % width);
    inverse[i] = voxels > 0 ? 1.0 / voxels : 0.0;
  }
}

// out [maps, count, *size] from columns [maps, bins, *size] of bins first, first + 1, ...
template <class T, class Sum>
__global__ void __launch_bounds__(256) histogram_rows_kernel(const Sum* columns, const double* inverse, TextureBox box,
                                                             int64_t first, int64_t bins, int64_t count, T* out) {
  const int64_t width = box.size[2], plane = box.plane(), values = box.planes * plane;
  for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < values; i += (int64_t)gridDim.x * blockDim.x) {
    const int64_t p = i / plane, map = p / bins, bin = first + p % bins, at = i % plane;
    double sum = (double)sum_across(box, columns + i / width * width, i % width);
    if constexpr (sizeof(Sum) == 8) sum /= kShareUnit;
    out[(map * count + bin) * plane + at] = (T)(sum * inverse[map * plane + at]);
  }
}

// Columns of the difference of two bins' gradients, each divided by its window's count: grad [maps, count, *size].
template <class T>
__global__ void __launch_bounds__(256) histogram_gradient_columns_kernel(const T* grad, const double* inverse, TextureBox box,
                                                                         int64_t first, int64_t bins, int64_t count,
                                                                         double* columns) {
  const int64_t plane = box.plane();
  for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < box.columns(); i += (int64_t)gridDim.x * blockDim.x) {
    const ColumnRun run = column_run(box, i);
    const int64_t map = run.plane / bins;
    const T* lower = grad + (map * count + first + run.plane % bins) * plane;
    const auto add = [&](int64_t z, int64_t y, int sign, double* sums) {
      const int64_t at = (z * box.size[1] + y) * box.size[2] + run.x;
      sums[0] += sign * ((double)lower[plane + at] - (double)lower[at]) * inverse[map * plane + at];
    };
    double* out = columns + run.plane * plane + run.z * box.size[1] * box.size[2] + run.x;
    slide_down<double, 1>(box, run, add, [&](int64_t y, const double* sums) { out[y * box.size[2]] = sums[0]; });
  }
}

// dx [maps, *size] of the voxels whose lower bin is one of `bins` from `first`, 0 where the share does not depend on the value.
template <class T>
__global__ void __launch_bounds__(256) histogram_gradient_rows_kernel(const T* x, const bool* mask, const double* columns,
                                                                      TextureBox box, Bins b, int64_t first, int64_t bins, T* dx) {
  const int64_t width = box.size[2], plane = box.plane(), values = box.planes * plane;
  const double scale = (double)b.count / (b.high - b.low);
  for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < values; i += (int64_t)gridDim.x * blockDim.x) {
    const BinPlace place = bin_place((double)x[i], mask == nullptr || mask[i], b);
    if (!place.slopes && first == 0) dx[i] = (T)0;
    if (!place.slopes || place.code < first || place.code >= first + bins) continue;
    const double* own = columns + (i / plane * bins + place.code - first) * plane;
    dx[i] = (T)(scale * sum_across(box, own + i % plane / width * width, i % width));
  }
}

}  // namespace medseg
