// Products with the matrix of patches P [patches, entries] of a map, read in place: P @ a and P^T @ v.
#pragma once
#include "sum_splits.cuh"

namespace medseg {

constexpr int kProductRows = 64, kProductColumns = 32, kProductDepth = 16;

// MOMENTS: rows are entries, the sum runs over patches, right is [patches, right_width]; the column past right_width counts as
// ones. Otherwise rows are patches and right is [entries, columns].
// out [splits, batch, rows, columns]; split s sums s * length .. (s + 1) * length.
template <class T, bool MOMENTS>
__global__ void __launch_bounds__(256) patch_product_kernel(const T* data, int64_t data_batch, PatchGrid g, const T* right,
                                                            int64_t right_batch, int64_t right_width, int64_t batch,
                                                            int64_t columns, int64_t length, int64_t splits, T* out) {
  __shared__ T left_tile[kProductDepth][kProductRows + 1];
  __shared__ T right_tile[kProductDepth][kProductColumns];
  __shared__ int64_t row_offset[kProductRows];
  __shared__ int64_t step_offset[kProductDepth];
  const int tid = threadIdx.x, tx = tid % 16, ty = tid / 16;
  const int64_t rows = MOMENTS ? patch_entries(g) : patch_count(g), steps = MOMENTS ? patch_count(g) : patch_entries(g);
  const int64_t i0 = (int64_t)blockIdx.x * kProductRows, j0 = (int64_t)blockIdx.y * kProductColumns;
  if (tid < kProductRows && i0 + tid < rows)
    row_offset[tid] = MOMENTS ? entry_offset(g, i0 + tid) : patch_offset(g, i0 + tid);
  for (int64_t part = blockIdx.z; part < batch * splits; part += gridDim.z) {
    const int64_t b = part % batch, first = part / batch * length;
    const int64_t last = first + length < steps ? first + length : steps;
    T acc[4][2] = {};
    for (int64_t t0 = first; t0 < last; t0 += kProductDepth) {
      if (tid < kProductDepth && t0 + tid < last)
        step_offset[tid] = MOMENTS ? patch_offset(g, t0 + tid) : entry_offset(g, t0 + tid);
      __syncthreads();
#pragma unroll 1
      for (int t = tid; t < kProductRows * kProductDepth; t += 256) {
        const int i = t % kProductRows, s = t / kProductRows;
        const bool in = i0 + i < rows && t0 + s < last;
        left_tile[s][i] = in ? data[b * data_batch + row_offset[i] + step_offset[s]] : (T)0;
      }
      for (int t = tid; t < kProductColumns * kProductDepth; t += 256) {
        const int j = t % kProductColumns, s = t / kProductColumns;
        const bool in = j0 + j < columns && t0 + s < last;
        const bool stored = in && j0 + j < right_width;
        right_tile[s][j] = stored ? right[b * right_batch + (t0 + s) * right_width + j0 + j] : in ? (T)1 : (T)0;
      }
      __syncthreads();
#pragma unroll 4  // all 16 steps at once would spill registers in float64
      for (int s = 0; s < kProductDepth; ++s)
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const T l = left_tile[s][ty + 16 * i];
          acc[i][0] += l * right_tile[s][tx];
          acc[i][1] += l * right_tile[s][tx + 16];
        }
      __syncthreads();
    }
#pragma unroll
    for (int i = 0; i < 4; ++i)
#pragma unroll
      for (int j = 0; j < 2; ++j) {
        const int64_t row = i0 + ty + 16 * i, column = j0 + tx + 16 * j;
        if (row < rows && column < columns) out[(part * rows + row) * columns + column] = acc[i][j];
      }
  }
}

// out[b, m] = <gradient patch m, patch index[b, m]>, one block per slot.
template <class T>
__global__ void __launch_bounds__(128) winner_product_kernel(const T* grad, int64_t grad_batch, PatchGrid gm, const T* x,
                                                             int64_t x_batch, PatchGrid xm, const int32_t* index, int64_t batch,
                                                             T* out) {
  __shared__ T part[128];
  const int tid = threadIdx.x;
  const int64_t slots = patch_count(gm), entries = patch_entries(gm);
  for (int64_t i = blockIdx.x; i < batch * slots; i += gridDim.x) {
    const int64_t b = i / slots;
    const T* g = grad + b * grad_batch + patch_offset(gm, i % slots);
    const T* p = x + b * x_batch + patch_offset(xm, index[i]);
    T sum = 0;
    for (int64_t e = tid; e < entries; e += 128) sum += g[entry_offset(gm, e)] * p[entry_offset(xm, e)];
    part[tid] = sum;
    __syncthreads();
    for (int half = 64; half > 0; half /= 2) {
      if (tid < half) part[tid] += part[tid + half];
      __syncthreads();
    }
    if (tid == 0) out[i] = part[0];
    __syncthreads();
  }
}

}  // namespace medseg
