// AVX2 + FMA kernels. Only this file is compiled for these instructions; isa.cpp decides whether it may run.
#if defined(__x86_64__)
#pragma GCC target("avx2,fma")
#include <immintrin.h>
#include <cstdint>
#define MS_T float
#define MS_LANES 8
#define MS_ROWS 6
#define MS_VECTORS 2
#define MS_TABLE score_avx2
#define MS_NAME "avx2"

namespace medseg {
namespace {

typedef float vec __attribute__((vector_size(32), may_alias, aligned(4)));
struct mask {
  __m256 bits;
  void operator|=(mask o) { bits = _mm256_or_ps(bits, o.bits); }
};

inline mask not_below(vec a, vec b) { return {_mm256_cmp_ps((__m256)a, (__m256)b, _CMP_NLE_UQ)}; }
inline bool any(mask m) { return _mm256_movemask_ps(m.bits) != 0; }

}  // namespace
}  // namespace medseg

#include "score_kernels.inc"
#endif
