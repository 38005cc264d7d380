// Row loops of bspline_warp for AVX2. Only this file is compiled for these instructions; isa.cpp decides whether it may run.
#if defined(__x86_64__)
#pragma GCC target("avx2")
#pragma GCC optimize("fp-contract=off")
#include <cstdint>
#define MS_T float
#define MS_TABLE warp_avx2
#define MS_NAME "avx2"
#include "warp_rows.inc"
#endif
