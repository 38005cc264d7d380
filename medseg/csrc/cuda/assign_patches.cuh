// Assignment of patches to queries so that no patch is given twice (rule: medseg/ops/patch_select_slots.py), and slot order.
//
// The greedy assignment by score is the stable matching of queries and patches that both prefer the higher score: queries propose
// to their candidates in turn, and a patch keeps the best proposal. The result does not depend on the order of the proposals.
#pragma once
#include "../common/codes.h"
#include "launch.cuh"

namespace medseg {

// candidate and score [batch, m, kCandidates]: the best keys of a query, descending, -1 beyond n. One block per query.
template <class T>
__global__ void __launch_bounds__(128) candidates_kernel(const T* keys, const T* queries, int64_t batch, int64_t n, int64_t m,
                                                         int64_t r, int32_t* candidate, T* score) {
  __shared__ T best_score[128];
  __shared__ int32_t best_index[128];
  const int tid = threadIdx.x;
  for (int64_t i = blockIdx.x; i < batch * m; i += gridDim.x) {
    const T* h = keys + i / m * n * r;
    const T* w = queries + i % m * r;
    T last = 0;
    int32_t last_index = -1;
    for (int place = 0; place < kCandidates; ++place) {
      T best = -INFINITY;
      int32_t at = INT32_MAX;
      for (int64_t k = tid; k < n; k += 128) {
        T s = 0;
        for (int64_t j = 0; j < r; ++j) s += h[k * r + j] * w[j];
        const bool behind = last_index < 0 || better_score(last, last_index, s, (int32_t)k);
        if (behind && better_score(s, (int32_t)k, best, at)) {
          best = s;
          at = (int32_t)k;
        }
      }
      best_score[tid] = best;
      best_index[tid] = at;
      __syncthreads();
      for (int half = 64; half > 0; half /= 2) {
        if (tid < half && better_score(best_score[tid + half], best_index[tid + half], best_score[tid], best_index[tid])) {
          best_score[tid] = best_score[tid + half];
          best_index[tid] = best_index[tid + half];
        }
        __syncthreads();
      }
      last = best_score[0];
      last_index = best_index[0];
      __syncthreads();
      if (tid == 0) {
        candidate[i * kCandidates + place] = place < n ? last_index : -1;
        score[i * kCandidates + place] = last;
      }
    }
  }
}

// One block per item. holder [batch, n] and turn [batch, m] are scratch: who holds a patch, and how far a query has come.
template <class T>
__global__ void __launch_bounds__(256) assign_patches_kernel(const int32_t* candidate, const T* score, int64_t batch, int64_t n,
                                                             int64_t m, int32_t* holder, int32_t* turn, int32_t* patch_of) {
  __shared__ int32_t moved[256];
  const int tid = threadIdx.x;
  for (int64_t b = blockIdx.x; b < batch; b += gridDim.x) {
    int32_t* held = holder + b * n;
    int32_t* at = turn + b * m;
    const int32_t* wish = candidate + b * m * kCandidates;
    const T* value = score + b * m * kCandidates;
    for (int64_t k = tid; k < n; k += 256) held[k] = -1;
    for (int64_t q = tid; q < m; q += 256) at[q] = 0;
    __syncthreads();
    for (int32_t again = 1; again != 0;) {
      for (int64_t q = tid; q < m; q += 256) {
        if (at[q] >= kCandidates || wish[q * kCandidates + at[q]] < 0) continue;
        int32_t* place = held + wish[q * kCandidates + at[q]];
        for (int32_t other = atomicCAS(place, -1, (int32_t)q); other >= 0 && other != (int32_t)q;) {
          if (!better_score(value[q * kCandidates + at[q]], (int32_t)q, value[other * kCandidates + at[other]], other)) break;
          const int32_t found = atomicCAS(place, other, (int32_t)q);
          if (found == other) break;
          other = found;
        }
      }
      __syncthreads();
      moved[tid] = 0;
      for (int64_t q = tid; q < m; q += 256) {
        if (at[q] >= kCandidates || wish[q * kCandidates + at[q]] < 0) continue;
        if (held[wish[q * kCandidates + at[q]]] != (int32_t)q) {
          ++at[q];
          moved[tid] = 1;
        }
      }
      __syncthreads();
      for (int half = 128; half > 0; half /= 2) {
        if (tid < half) moved[tid] |= moved[tid + half];
        __syncthreads();
      }
      again = moved[0];
      __syncthreads();
    }
    if (tid == 0) {  // the remaining queries take the remaining patches, both in ascending order
      int64_t free = 0;
      for (int64_t q = 0; q < m; ++q) {
        const bool matched = at[q] < kCandidates && wish[q * kCandidates + at[q]] >= 0;
        if (!matched) {
          while (held[free] >= 0) ++free;
          held[free] = (int32_t)q;
        }
        patch_of[b * m + q] = matched ? wish[q * kCandidates + at[q]] : (int32_t)free;
      }
    }
    __syncthreads();
  }
}

// Slot of every query by counting: ascending patches, ties to the lower query; without raster the slot is the query.
static __global__ void __launch_bounds__(256) order_slots_kernel(const int32_t* patch_of, int64_t batch, int64_t m, bool raster,
                                                                 int32_t* index, int32_t* query) {
  for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < batch * m; i += (int64_t)gridDim.x * blockDim.x) {
    const int64_t b = i / m, q = i % m;
    const int32_t own = patch_of[i];
    int64_t slot = raster ? 0 : q;
    for (int64_t o = 0; raster && o < m; ++o) {
      const int32_t other = patch_of[b * m + o];
      slot += other < own || (other == own && o < q) ? 1 : 0;
    }
    index[b * m + slot] = own;
    query[b * m + slot] = (int32_t)q;
  }
}

// The patch of every query and the slot that holds it.
static __global__ void __launch_bounds__(256) order_queries_kernel(const int32_t* index, const int32_t* query, int64_t batch,
                                                                   int64_t m, int32_t* patch_of, int32_t* slot_of) {
  for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < batch * m; i += (int64_t)gridDim.x * blockDim.x) {
    const int64_t at = i / m * m + query[i];
    patch_of[at] = index[i];
    slot_of[at] = (int32_t)(i % m);
  }
}

}  // namespace medseg
