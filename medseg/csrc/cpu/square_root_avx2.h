// Eight floats and their square root, for row loops compiled for AVX2 (the including file sets the target).
#pragma once
#include <immintrin.h>

namespace medseg {
namespace {

typedef float vec __attribute__((vector_size(32), may_alias, aligned(4)));

inline vec square_root(vec v) { return (vec)_mm256_sqrt_ps((__m256)v); }

}  // namespace
}  // namespace medseg
