// AVX2 row loops. Only this file is compiled for these instructions; isa.cpp decides whether it may run.
#if defined(__x86_64__)
#pragma GCC target("avx2")
#pragma GCC optimize("fp-contract=off")
#include <immintrin.h>
#include <cstdint>
#define MS_T float
#define MS_LANES 8
#define MS_TABLE geodesic_avx2
#define MS_NAME "avx2"

namespace medseg {
namespace {

typedef float vec __attribute__((vector_size(32), may_alias, aligned(4)));

inline vec square_root(vec v) { return (vec)_mm256_sqrt_ps((__m256)v); }

}  // namespace
}  // namespace medseg

#include "geodesic_rows.inc"
#endif
