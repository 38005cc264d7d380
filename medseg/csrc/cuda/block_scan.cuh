// Sums over the threads of a block of 256, in one order.
#pragma once
#include "launch.cuh"

namespace medseg {

// Sum of the values of all threads; shared: 256 entries.
__device__ inline int32_t block_sum(int32_t value, int32_t* shared) {
  const int tid = threadIdx.x;
  shared[tid] = value;
  __syncthreads();
  for (int half = 128; half > 0; half /= 2) {
    if (tid < half) shared[tid] += shared[tid + half];
    __syncthreads();
  }
  const int32_t sum = shared[0];
  __syncthreads();
  return sum;
}

// Sum of the values of the threads before this one.
__device__ inline int32_t sum_before(int32_t value, int32_t* shared) {
  const int tid = threadIdx.x;
  shared[tid] = value;
  __syncthreads();
  for (int step = 1; step < 256; step *= 2) {
    const int32_t earlier = tid >= step ? shared[tid - step] : 0;
    __syncthreads();
    shared[tid] += earlier;
    __syncthreads();
  }
  const int32_t sum = shared[tid] - value;
  __syncthreads();
  return sum;
}

}  // namespace medseg
