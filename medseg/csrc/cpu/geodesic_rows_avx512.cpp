// AVX-512 row loops. Only this file is compiled for these instructions; isa.cpp decides whether it may run.
#if defined(__x86_64__)
#pragma GCC target("avx512f")
#pragma GCC optimize("fp-contract=off")
#include <immintrin.h>
#include <cstdint>
#define MS_T float
#define MS_LANES 16
#define MS_TABLE geodesic_avx512
#define MS_NAME "avx512"

namespace medseg {
namespace {

typedef float vec __attribute__((vector_size(64), may_alias, aligned(4)));

inline vec square_root(vec v) { return (vec)_mm512_maskz_sqrt_ps((__mmask16)-1, (__m512)v); }

}  // namespace
}  // namespace medseg

#include "geodesic_rows.inc"
#endif
