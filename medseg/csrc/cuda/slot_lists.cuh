// For every key the ascending list of the queries that chose it, as a linked list: head[b, n], next[b, m], -1 at the end.
// Sums along a list have one order, so no atomics are needed and repeated runs give the same bits.
#pragma once
#include "launch.cuh"

namespace medseg {

// One block per batch item, blocks of 256 slots from the last to the first; head starts as -1.
static __global__ void __launch_bounds__(256) link_slots_kernel(const int32_t* index, int64_t batch, int64_t n, int64_t m, int32_t* head,
                                                         int32_t* next) {
  __shared__ int32_t chosen[256];
  const int tid = threadIdx.x;
  for (int64_t b = blockIdx.x; b < batch; b += gridDim.x) {
    for (int64_t start = (m - 1) / 256 * 256; start >= 0; start -= 256) {
      const int64_t slot = start + tid;
      const int32_t key = slot < m ? index[b * m + slot] : -1;
      chosen[tid] = key;
      __syncthreads();
      int before = tid - 1, after = tid + 1;
      while (before >= 0 && chosen[before] != key) --before;
      while (after < 256 && chosen[after] != key) ++after;
      if (key >= 0) next[b * m + slot] = after < 256 ? (int32_t)(start + after) : head[b * n + key];
      __syncthreads();  // heads are read above and written below
      if (key >= 0 && before < 0) head[b * n + key] = (int32_t)slot;
      __syncthreads();
    }
  }
}

// out[b, k, j] = product_scale * product[b, k, j] + row_scale * sum over the list of k of coefficient[b, m] * rows[(b,) m, j].
// product may be null; coefficients are coefficient_stride apart.
template <class T>
__global__ void __launch_bounds__(256) keys_gradient_kernel(const T* product, T product_scale, const T* coefficient,
                                                            int64_t coefficient_stride, T row_scale, const T* rows,
                                                            int64_t row_batch_stride, const int32_t* head, const int32_t* next,
                                                            int64_t batch, int64_t n, int64_t m, int64_t r, T* out) {
  const int64_t count = batch * n * r;
  for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += (int64_t)gridDim.x * blockDim.x) {
    const int64_t j = i % r, k = i / r % n, b = i / (r * n);
    T sum = 0;
    for (int32_t s = head[b * n + k]; s >= 0; s = next[b * m + s])
      sum += coefficient[(b * m + s) * coefficient_stride] * rows[b * row_batch_stride + s * r + j];
    out[i] = (product != nullptr ? product_scale * product[i] : (T)0) + row_scale * sum;
  }
}

// out[m, j] = sum over b of product_scale * product[b, m, j] + row_scale * coefficient[b, m] * keys[b, index[b, m], j];
// with out_batches = batch every item keeps its own sum. product (rows of product_width) may be null.
template <class T>
__global__ void __launch_bounds__(256) queries_gradient_kernel(const T* product, int64_t product_width, T product_scale,
                                                               const T* coefficient, int64_t coefficient_stride, T row_scale,
                                                               const T* keys, const int32_t* index, int64_t batch,
                                                               int64_t out_batches, int64_t n, int64_t m, int64_t r, T* out) {
  const int64_t count = out_batches * m * r;
  for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += (int64_t)gridDim.x * blockDim.x) {
    const int64_t j = i % r, s = i / r % m, b0 = i / (r * m);
    T sum = 0;
    for (int64_t b = b0; b < (out_batches == 1 ? batch : b0 + 1); ++b) {
      const int64_t q = b * m + s;
      if (product != nullptr) sum += product_scale * product[q * product_width + j];
      sum += row_scale * coefficient[q * coefficient_stride] * keys[(b * n + index[q]) * r + j];
    }
    out[i] = sum;
  }
}

}  // namespace medseg
