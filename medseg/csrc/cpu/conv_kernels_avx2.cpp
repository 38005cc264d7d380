// AVX2 + FMA convolution kernels. Only this file is compiled for these instructions; isa.cpp decides whether it may run.
#if defined(__x86_64__)
#pragma GCC target("avx2,fma")
#include <cstdint>
#define MS_T float
#define MS_INT int32_t
#define MS_LANES 8
#define MS_ROWS 6
#define MS_LONG_ROWS 12
#define MS_TABLE conv_avx2
#define MS_NAME "avx2"
#include "conv_kernels.inc"
#endif
