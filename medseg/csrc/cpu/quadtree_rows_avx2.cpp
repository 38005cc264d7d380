// AVX2 row loops. Only this file is compiled for these instructions; isa.cpp decides whether it may run.
#if defined(__x86_64__)
#pragma GCC target("avx2")
#pragma GCC optimize("fp-contract=off")
#include <cstdint>

#include "square_root_avx2.h"

#define MS_T float
#define MS_LANES 8
#define MS_TABLE quadtree_avx2
#define MS_NAME "avx2"

#include "quadtree_rows.inc"
#endif
