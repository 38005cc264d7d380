// Sums, maxima and prefix sums over the threads of a block of 256, each in one fixed order. `shared` has room for 256 values and
// may be used again after the call.
#pragma once
#include "launch.cuh"

namespace medseg {

// Combines the values of all threads; every thread receives the result.
template <class T, class Combine>
__device__ inline T block_reduce(T value, T* shared, const Combine& combine) {
  const int tid = threadIdx.x;
  shared[tid] = value;
  __syncthreads();
  for (int half = 128; half > 0; half /= 2) {
    if (tid < half) shared[tid] = combine(shared[tid], shared[tid + half]);
    __syncthreads();
  }
  const T result = shared[0];
  __syncthreads();
  return result;
}

template <class T>
__device__ inline T block_sum(T value, T* shared) {
  return block_reduce(value, shared, [](T a, T b) { return a + b; });
}

template <class T>
__device__ inline T block_maximum(T value, T* shared) {
  return block_reduce(value, shared, [](T a, T b) { return b > a ? b : a; });
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
