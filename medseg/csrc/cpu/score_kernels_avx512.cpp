// AVX-512 kernels. Only this file is compiled for these instructions; isa.cpp decides whether it may run.
#if defined(__x86_64__)
#pragma GCC target("avx512f")
#include <immintrin.h>
#include <cstdint>
#define MS_T float
#define MS_LANES 16
#define MS_ROWS 8
#define MS_VECTORS 2
#define MS_TABLE score_avx512
#define MS_NAME "avx512"

namespace medseg {
namespace {

typedef float vec __attribute__((vector_size(64), may_alias, aligned(4)));
typedef unsigned mask;

inline mask not_below(vec a, vec b) { return _mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_NLE_UQ); }
inline bool any(mask m) { return m != 0; }

}  // namespace
}  // namespace medseg

#include "score_kernels.inc"
#endif
