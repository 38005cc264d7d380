// Row loops of bspline_warp for AVX-512. Only this file is compiled for these instructions; isa.cpp decides whether it may run.
#if defined(__x86_64__)
#pragma GCC target("avx512f")
#pragma GCC optimize("fp-contract=off")
#include <cstdint>
#define MS_T float
#define MS_TABLE warp_avx512
#define MS_NAME "avx512"
#include "warp_rows.inc"
#endif
