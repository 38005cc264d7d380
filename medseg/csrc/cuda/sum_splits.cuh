// Sums whose order is fixed: parts that several blocks computed, and the values of the threads of a block.
#pragma once
#include "launch.cuh"

namespace medseg {

// out[i] = sum of the splits, in order.
template <class T>
__global__ void __launch_bounds__(256) sum_splits_kernel(const T* parts, int64_t splits, int64_t count, T* out) {
  for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += (int64_t)gridDim.x * blockDim.x) {
    T sum = 0;
    for (int64_t s = 0; s < splits; ++s) sum += parts[s * count + i];
    out[i] = sum;
  }
}

// Sum over a block of 256 threads; every thread receives it. part has 256 places.
template <class A>
__device__ A block_sum(A value, A* part) {
  __syncthreads();
  part[threadIdx.x] = value;
  __syncthreads();
  for (int half = 128; half > 0; half /= 2) {
    if ((int)threadIdx.x < half) part[threadIdx.x] += part[threadIdx.x + half];
    __syncthreads();
  }
  return part[0];
}

}  // namespace medseg
