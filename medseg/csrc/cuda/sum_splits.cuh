// Sum of the parts that several blocks computed, in a fixed order.
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

}  // namespace medseg
