// Portable row loops in float32.
#pragma GCC optimize("fp-contract=off")
#include <cstdint>
#define MS_T float
#define MS_INT int32_t
#define MS_LANES 4
#define MS_TABLE geodesic_generic
#define MS_NAME "generic"
#include "portable_vector.h"
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace medseg {
namespace {

inline vec square_root(vec v) {
#if defined(__SSE2__)
  return (vec)_mm_sqrt_ps((__m128)v);
#else
  for (int l = 0; l < MS_LANES; ++l) v[l] = __builtin_sqrtf(v[l]);
  return v;
#endif
}

}  // namespace
}  // namespace medseg

#include "geodesic_rows.inc"
