// The best m of n scores, ascending by patch number, and the gradient of such scores. There are no atomics, so sums have one
// order.
#pragma once
#include "block_reduce.cuh"
#include "score_bits.cuh"

namespace medseg {

// One block per item: finds the m-th largest score bit by bit, then writes the patches above it and the first of those equal to
// it.
template <class T>
__global__ void __launch_bounds__(256) best_patches_kernel(const T* score, int64_t batch, int64_t n, int64_t m, int32_t* index) {
  using Bits = score_bits_t<T>;
  __shared__ int32_t part[256];
  __shared__ int32_t above_before[256], equal_before[256];
  const int tid = threadIdx.x;
  for (int64_t b = blockIdx.x; b < batch; b += gridDim.x) {
    const T* s = score + b * n;
    Bits threshold = 0;
    for (int bit = (int)sizeof(Bits) * 8 - 1; bit >= 0; --bit) {
      const Bits trial = threshold | (Bits)1 << bit;
      int32_t count = 0;
      for (int64_t k = tid; k < n; k += 256) count += ordered_bits(s[k]) >= trial ? 1 : 0;
      if (block_sum(count, part) >= m) threshold = trial;
    }
    int32_t count = 0;
    for (int64_t k = tid; k < n; k += 256) count += ordered_bits(s[k]) > threshold ? 1 : 0;
    const int32_t equals = (int32_t)m - block_sum(count, part);
    const int64_t length = (n + 255) / 256, first = tid * length, last = first + length < n ? first + length : n;
    int32_t above = 0, equal = 0;
    for (int64_t k = first; k < last; ++k) {
      above += ordered_bits(s[k]) > threshold ? 1 : 0;
      equal += ordered_bits(s[k]) == threshold ? 1 : 0;
    }
    above_before[tid] = above;
    equal_before[tid] = equal;
    __syncthreads();
    if (tid == 0) {
      int32_t a = 0, e = 0;
      for (int t = 0; t < 256; ++t) {
        const int32_t na = above_before[t], ne = equal_before[t];
        above_before[t] = a;
        equal_before[t] = e;
        a += na;
        e += ne;
      }
    }
    __syncthreads();
    int32_t a = above_before[tid], e = equal_before[tid];
    for (int64_t k = first; k < last; ++k) {
      const Bits bits = ordered_bits(s[k]);
      if (bits > threshold || (bits == threshold && e < equals)) index[b * m + a + (e < equals ? e : equals)] = (int32_t)k;
      a += bits > threshold ? 1 : 0;
      e += bits == threshold ? 1 : 0;
    }
    __syncthreads();
  }
}

// out = slope / tau * pi (use - sum of pi use), pi = softmax(score / tau) along n; all are [batch, n, columns], and out may be
// score. One block per column.
template <class T>
__global__ void __launch_bounds__(256) softmax_gradient_kernel(const T* score, const T* use, int64_t batch, int64_t n,
                                                               int64_t columns, T slope, T tau, T* out) {
  __shared__ T part[256];
  const int tid = threadIdx.x;
  for (int64_t i = blockIdx.x; i < batch * columns; i += gridDim.x) {
    const int64_t base = i / columns * n * columns + i % columns;
    T top = -INFINITY, total = 0, mean = 0;
    for (int64_t k = tid; k < n; k += 256) {
      const T s = score[base + k * columns];
      top = s > top ? s : top;
    }
    top = block_maximum(top, part);
    for (int64_t k = tid; k < n; k += 256) {
      const int64_t at = base + k * columns;
      const T e = exp((score[at] - top) / tau);
      out[at] = e;  // read again by this thread only
      total += e;
      mean += e * use[at];
    }
    total = block_sum(total, part);
    mean = block_sum(mean, part) / total;
    for (int64_t k = tid; k < n; k += 256) {
      const int64_t at = base + k * columns;
      out[at] = slope / tau * (out[at] / total) * (use[at] - mean);
    }
    __syncthreads();
  }
}

// ds_k = slope (b_k - c of the slot that holds k); at most one slot holds a patch.
template <class T>
__global__ void __launch_bounds__(256) paper_gradient_kernel(const T* use, const T* correction, const int32_t* head, int64_t batch,
                                                             int64_t n, int64_t m, T slope, T* out) {
  for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < batch * n; i += (int64_t)gridDim.x * blockDim.x) {
    const int32_t slot = head[i];
    out[i] = slope * (use[i] - (slot >= 0 ? correction[i / n * m + slot] : (T)0));
  }
}

}  // namespace medseg
