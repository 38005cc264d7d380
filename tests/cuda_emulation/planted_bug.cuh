// A block sum without its first barrier: the emulation must notice this.
#pragma once

__global__ void __launch_bounds__(256) planted_bug_kernel(const float* x, float* out) {
  __shared__ float part[256];
  const int tid = threadIdx.x;
  part[tid] = x[blockIdx.x * 256 + tid];
  /* the barrier that belongs here is left out on purpose */
  for (int half = 128; half > 0; half /= 2) {
    if (tid < half) part[tid] += part[tid + half];
    __syncthreads();
  }
  if (tid == 0) out[blockIdx.x] = part[0];
}
