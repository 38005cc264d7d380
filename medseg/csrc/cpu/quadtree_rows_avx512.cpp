// AVX-512 row loops. Only this file is compiled for these instructions; isa.cpp decides whether it may run.
#if defined(__x86_64__)
#pragma GCC target("avx512f")
#pragma GCC optimize("fp-contract=off")
#include <cstdint>

#include "square_root_avx512.h"

#define MS_T float
#define MS_LANES 16
#define MS_TABLE quadtree_avx512
#define MS_NAME "avx512"

#include "quadtree_rows.inc"
#endif
