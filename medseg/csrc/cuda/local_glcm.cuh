// Kernels of local_glcm's linear features: sums over the pairs of every window, columns first, and the gradient.
#pragma once
#include "glcm_formulas.cuh"
#include "texture_columns.cuh"

namespace medseg {

// Maps [maps, *size] of grey levels; a voxel counts if it is finite and the mask (or null) holds it.
template <class T>
struct GreyMaps {
  const T* x;
  const bool* mask;
  int64_t levels;

  __device__ __forceinline__ bool counts(int64_t i) const {
    return fabs((double)x[i]) <= 1.7976931348623157e308 && (mask == nullptr || mask[i]);
  }
  // Less a middle level: moments of third and fourth order lose fewer digits, and whole levels stay exact.
  __device__ __forceinline__ double value(int64_t i) const { return (double)x[i] - (double)(levels / 2); }
  // The nearest whole level, -1 for a voxel that does not count.
  __device__ __forceinline__ int level(int64_t i) const {
    if (!counts(i)) return -1;
    const double nearest = floor((double)x[i] + 0.5), last = (double)(levels - 1);
    return (int)(nearest < 0 ? 0.0 : nearest > last ? last : nearest);
  }
};

// The window of the first voxels of pairs, the step to the second, and the same seen from the pairs: `window` back.
struct PairBox {
  TextureBox window, back;
  int64_t step[3], jump;  // jump: the step in memory

  // Whether the voxel a step away, or a step back, lies in the image.
  __device__ __forceinline__ bool holds(int64_t z, int64_t y, int64_t x, int64_t sign) const {
    const int64_t bz = z + sign * step[0], by = y + sign * step[1], bx = x + sign * step[2];
    return bz >= 0 && bz < window.size[0] && by >= 0 && by < window.size[1] && bx >= 0 && bx < window.size[2];
  }
};

inline PairBox pair_box(const TextureShape& s, const PairOffset& o, int64_t maps) {
  const auto spans = [&](int64_t sign) {
    return TextureBox{maps, {s.size[0], s.size[1], s.size[2]}, pair_span(s.radius[0], sign * o.step[0]),
                      pair_span(s.radius[1], sign * o.step[1]), pair_span(s.radius[2], sign * o.step[2])};
  };
  return {spans(1), spans(-1), {o.step[0], o.step[1], o.step[2]}, (o.step[0] * s.size[1] + o.step[1]) * s.size[2] + o.step[2]};
}

// Places of the linear features among the maps of one offset, -1 for those that are not chosen. Results and gradients are
// [maps, stride, *size], of which the offset's begin at `first`.
struct LinearPlaces {
  int64_t at[kLinearFeatures], first, stride;
};

// columns [maps, kPairSums, *size]: sums of the pairs whose first voxel lies in the column and rows of the window.
template <class T>
__global__ void __launch_bounds__(256) glcm_columns_kernel(GreyMaps<T> grey, PairBox p, double* columns) {
  const TextureBox& box = p.window;
  const int64_t plane = box.plane();
  for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < box.columns(); i += (int64_t)gridDim.x * blockDim.x) {
    const ColumnRun run = column_run(box, i);
    const auto add = [&](int64_t z, int64_t y, int sign, double* sums) {
      const int64_t a = run.plane * plane + (z * box.size[1] + y) * box.size[2] + run.x;
      if (!p.holds(z, y, run.x, 1) || !grey.counts(a) || !grey.counts(a + p.jump)) return;
      add_pair(grey.value(a), grey.value(a + p.jump), sign, sums);
    };
    double* out = columns + run.plane * kPairSums * plane + run.z * box.size[1] * box.size[2] + run.x;
    slide_down<double, kPairSums>(box, run, add, [&](int64_t y, const double* sums) {
      for (int k = 0; k < kPairSums; ++k) out[k * plane + y * box.size[2]] = sums[k];
    });
  }
}

// sums[k] of the window around voxel i of [maps, *size], from columns [maps, kSums, *size].
template <int kSums>
__device__ __forceinline__ void window_sums(const TextureBox& box, const double* columns, int64_t i, double* sums) {
  const int64_t plane = box.plane(), width = box.size[2], row = i / plane * kSums * plane + i % plane / width * width;
  for (int k = 0; k < kSums; ++k) sums[k] = sum_across(box, columns + row + k * plane, i % width);
}

// Adds the features of one offset to the maps, and 1 to `seen` where the window has a pair.
template <class T>
__global__ void __launch_bounds__(256) glcm_features_kernel(const double* columns, TextureBox box, LinearPlaces places, T* out,
                                                            int32_t* seen) {
  const int64_t plane = box.plane(), values = box.planes * plane;
  for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < values; i += (int64_t)gridDim.x * blockDim.x) {
    double sums[kPairSums], features[kLinearFeatures];
    window_sums<kPairSums>(box, columns, i, sums);
    linear_features(sums, features);
    T* to = out + (i / plane * places.stride + places.first) * plane + i % plane;
    for (int f = 0; f < kLinearFeatures; ++f)
      if (places.at[f] >= 0) to[places.at[f] * plane] += (T)features[f];
    if (sums[kPairs] > 0) ++seen[i];
  }
}

// Divides the maps [maps, stride, *size] by the number of offsets that have a pair in the window.
template <class T>
__global__ void __launch_bounds__(256) glcm_average_kernel(const int32_t* seen, int64_t maps, int64_t stride, int64_t plane, T* out) {
  for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < maps * stride * plane; i += (int64_t)gridDim.x * blockDim.x) {
    const int32_t offsets = seen[i / (stride * plane) * plane + i % plane];
    out[i] /= (T)(offsets > 1 ? offsets : 1);
  }
}

// Adds 1 to `seen` where the window has a pair.
__global__ void __launch_bounds__(256) glcm_seen_kernel(const double* columns, TextureBox box, int32_t* seen) {
  const int64_t plane = box.plane(), width = box.size[2], values = box.planes * plane;
  for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < values; i += (int64_t)gridDim.x * blockDim.x) {
    const double* pairs = columns + i / plane * kPairSums * plane + i % plane / width * width;
    if (sum_across(box, pairs, i % width) > 0) ++seen[i];
  }
}

// slopes [maps, kPairSums - 1, *size]: gradients of every window's sums. seen may be null.
template <class T>
__global__ void __launch_bounds__(256) glcm_slopes_kernel(const double* columns, const T* grad, TextureBox box, LinearPlaces places,
                                                          const int32_t* seen, double* slopes) {
  const int64_t plane = box.plane(), values = box.planes * plane;
  for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < values; i += (int64_t)gridDim.x * blockDim.x) {
    double sums[kPairSums], gradient[kLinearFeatures], found[kPairSums - 1];
    window_sums<kPairSums>(box, columns, i, sums);
    const T* from = grad + (i / plane * places.stride + places.first) * plane + i % plane;
    const double offsets = seen != nullptr && seen[i] > 1 ? seen[i] : 1;
    for (int f = 0; f < kLinearFeatures; ++f)
      gradient[f] = places.at[f] < 0 ? 0.0 : (double)from[places.at[f] * plane] / offsets;
    feature_slopes(sums, gradient, found);
    double* to = slopes + i / plane * (kPairSums - 1) * plane + i % plane;
    for (int k = 0; k < kPairSums - 1; ++k) to[k * plane] = found[k];
  }
}

// Columns of the slopes of all windows that hold the pair whose first voxel lies in the middle.
__global__ void __launch_bounds__(256) glcm_slope_columns_kernel(const double* slopes, TextureBox box, double* columns) {
  constexpr int kSlopes = kPairSums - 1;
  const int64_t plane = box.plane();
  for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < box.columns(); i += (int64_t)gridDim.x * blockDim.x) {
    const ColumnRun run = column_run(box, i);
    const int64_t map = run.plane * kSlopes * plane;
    const auto add = [&](int64_t z, int64_t y, int sign, double* sums) {
      const double* from = slopes + map + (z * box.size[1] + y) * box.size[2] + run.x;
      for (int k = 0; k < kSlopes; ++k) sums[k] += sign * from[k * plane];
    };
    double* out = columns + map + run.z * box.size[1] * box.size[2] + run.x;
    slide_down<double, kSlopes>(box, run, add, [&](int64_t y, const double* sums) {
      for (int k = 0; k < kSlopes; ++k) out[k * plane + y * box.size[2]] = sums[k];
    });
  }
}

// Adds to sum [maps, *size] the gradient of every voxel as the first of one pair and the second of another.
template <class T>
__global__ void __launch_bounds__(256) glcm_gradient_kernel(GreyMaps<T> grey, PairBox p, const double* columns, double* sum) {
  const TextureBox& box = p.back;
  const int64_t plane = box.plane(), width = box.size[2], values = box.planes * plane;
  for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < values; i += (int64_t)gridDim.x * blockDim.x) {
    if (!grey.counts(i)) continue;
    const int64_t x = i % width, y = i / width % box.size[1], z = i / (width * box.size[1]) % box.size[0];
    double slopes[kPairSums - 1], total = sum[i];
    if (p.holds(z, y, x, 1) && grey.counts(i + p.jump)) {
      window_sums<kPairSums - 1>(box, columns, i, slopes);
      total += pair_gradient(grey.value(i), grey.value(i + p.jump), slopes).first;
    }
    if (p.holds(z, y, x, -1) && grey.counts(i - p.jump)) {
      window_sums<kPairSums - 1>(box, columns, i - p.jump, slopes);
      total += pair_gradient(grey.value(i - p.jump), grey.value(i), slopes).second;
    }
    sum[i] = total;
  }
}

template <class T>
__global__ void __launch_bounds__(256) glcm_round_kernel(const double* sum, int64_t count, T* dx) {
  for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += (int64_t)gridDim.x * blockDim.x) dx[i] = (T)sum[i];
}

}  // namespace medseg
