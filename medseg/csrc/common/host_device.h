// One spelling for functions that g++ and nvcc both compile.
#pragma once
#include <cstdint>

#if defined(__CUDACC__) || defined(MEDSEG_CUDA_EMULATION)
#define MS_HD __host__ __device__ inline
#else
#define MS_HD inline
#endif
