// AVX-512 row loops of the texture ops. Only this file is compiled for these instructions; isa.cpp decides whether it may run.
#if defined(__x86_64__)
#pragma GCC target("avx512f")
#pragma GCC optimize("fp-contract=off")
#include <cstdint>
#define MS_TABLE texture_avx512
#define MS_NAME "avx512"
#include "texture_rows.inc"
#endif
