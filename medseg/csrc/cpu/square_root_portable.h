// Square root of the portable vectors: one lane after the other, or by SSE2, which every x86-64 processor has. Both round to
// nearest.
#pragma once
#include "vector_portable.h"
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace medseg {
namespace {

inline vec square_root(vec v) {
#if defined(__SSE2__)
  if constexpr (sizeof(MS_T) == sizeof(float)) return (vec)_mm_sqrt_ps((__m128)v);
#endif
  for (int l = 0; l < MS_LANES; ++l) v[l] = sizeof(MS_T) == sizeof(float) ? __builtin_sqrtf(v[l]) : __builtin_sqrt(v[l]);
  return v;
}

}  // namespace
}  // namespace medseg
