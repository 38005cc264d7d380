// Fused scores and running arg-max: a block keeps 64 queries and walks over its range of keys, 64 at a time.
#pragma once
#include "launch.cuh"

namespace medseg {

constexpr int kScoreTile = 64, kScoreDepth = 16;

// index and score are [splits, batch, m]; split s covers keys s * length .. (s + 1) * length.
template <class T>
__global__ void __launch_bounds__(256) score_argmax_kernel(const T* keys, const T* queries, int64_t batch, int64_t n, int64_t m,
                                                           int64_t r, int64_t query_stride, int64_t length, int32_t* index,
                                                           T* score) {
  __shared__ T key_tile[kScoreDepth][kScoreTile + 1];
  __shared__ T query_tile[kScoreDepth][kScoreTile + 1];
  __shared__ T merge_score[16][kScoreTile];
  __shared__ int32_t merge_index[16][kScoreTile];
  const int tid = threadIdx.x, tx = tid % 16, ty = tid / 16;
  const int64_t m0 = (int64_t)blockIdx.x * kScoreTile;
  const int64_t first = (int64_t)blockIdx.y * length, last = first + length < n ? first + length : n;
  for (int64_t b = blockIdx.z; b < batch; b += gridDim.z) {
    const T* h = keys + b * n * r;
    const T* w = queries + b * query_stride;
    T best[4];
    int32_t at[4];
    for (int q = 0; q < 4; ++q) {
      best[q] = -INFINITY;
      at[q] = INT32_MAX;  // above every index: the first key, even one of score -inf, replaces it
    }
    for (int64_t k0 = first; k0 < last; k0 += kScoreTile) {
      T acc[4][4] = {};
      for (int64_t j0 = 0; j0 < r; j0 += kScoreDepth) {
        for (int t = tid; t < kScoreTile * kScoreDepth; t += 256) {
          const int j = t % kScoreDepth, i = t / kScoreDepth;
          const bool in = j0 + j < r;
          key_tile[j][i] = in && k0 + i < last ? h[(k0 + i) * r + j0 + j] : (T)0;
          query_tile[j][i] = in && m0 + i < m ? w[(m0 + i) * r + j0 + j] : (T)0;
        }
        __syncthreads();
#pragma unroll
        for (int j = 0; j < kScoreDepth; ++j) {
          T kv[4], qv[4];
#pragma unroll
          for (int i = 0; i < 4; ++i) {
            kv[i] = key_tile[j][ty + 16 * i];
            qv[i] = query_tile[j][tx + 16 * i];
          }
#pragma unroll
          for (int i = 0; i < 4; ++i)
#pragma unroll
            for (int q = 0; q < 4; ++q) acc[i][q] += kv[i] * qv[q];
        }
        __syncthreads();
      }
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int64_t k = k0 + ty + 16 * i;
        if (k >= last) continue;
#pragma unroll
        for (int q = 0; q < 4; ++q)
          if (better_score(acc[i][q], (int32_t)k, best[q], at[q])) {
            best[q] = acc[i][q];
            at[q] = (int32_t)k;
          }
      }
    }
#pragma unroll
    for (int q = 0; q < 4; ++q) {
      merge_score[ty][tx + 16 * q] = best[q];
      merge_index[ty][tx + 16 * q] = at[q];
    }
    __syncthreads();
    if (tid < kScoreTile && m0 + tid < m) {
      T s = merge_score[0][tid];
      int32_t k = merge_index[0][tid];
      for (int i = 1; i < 16; ++i)
        if (better_score(merge_score[i][tid], merge_index[i][tid], s, k)) {
          s = merge_score[i][tid];
          k = merge_index[i][tid];
        }
      const int64_t o = ((int64_t)blockIdx.y * batch + b) * m + m0 + tid;
      index[o] = k;
      score[o] = s;
    }
    __syncthreads();
  }
}

// The best of the splits, for count = batch * m queries.
template <class T>
__global__ void __launch_bounds__(256) merge_splits_kernel(const int32_t* split_index, const T* split_score, int64_t splits,
                                                           int64_t count, int32_t* index, T* score) {
  for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += (int64_t)gridDim.x * blockDim.x) {
    T s = split_score[i];
    int32_t k = split_index[i];
    for (int64_t t = 1; t < splits; ++t)
      if (better_score(split_score[t * count + i], split_index[t * count + i], s, k)) {
        s = split_score[t * count + i];
        k = split_index[t * count + i];
      }
    index[i] = k;
    score[i] = s;
  }
}

}  // namespace medseg
