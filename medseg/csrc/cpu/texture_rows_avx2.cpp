// AVX2 row loops of the texture ops. Only this file is compiled for these instructions; isa.cpp decides whether it may run.
#if defined(__x86_64__)
#pragma GCC target("avx2")
#pragma GCC optimize("fp-contract=off")
#include <cstdint>
#define MS_TABLE texture_avx2
#define MS_NAME "avx2"
#include "texture_rows.inc"
#endif
