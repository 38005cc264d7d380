// Sixteen floats and their square root, for row loops compiled for AVX-512 (the including file sets the target).
#pragma once
#include <immintrin.h>

namespace medseg {
namespace {

typedef float vec __attribute__((vector_size(64), may_alias, aligned(4)));

inline vec square_root(vec v) { return (vec)_mm512_maskz_sqrt_ps((__mmask16)-1, (__m512)v); }

}  // namespace
}  // namespace medseg
