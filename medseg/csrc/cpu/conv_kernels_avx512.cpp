// AVX-512 convolution kernels. Only this file is compiled for these instructions; isa.cpp decides whether it may run.
#if defined(__x86_64__)
#pragma GCC target("avx512f")
#include <cstdint>
#define MS_T float
#define MS_INT int32_t
#define MS_LANES 16
#define MS_ROWS 8
#define MS_LONG_ROWS 8  // more run slower: the row pointers no longer fit the integer registers
#define MS_TABLE conv_avx512
#define MS_NAME "avx512"
#include "conv_kernels.inc"
#endif
