// Vector type and comparison for the portable kernels: vector extensions of GCC and Clang, for any instruction set.
#pragma once
#include <cstdint>

namespace medseg {
namespace {

typedef MS_T vec __attribute__((vector_size(MS_LANES * sizeof(MS_T)), may_alias, aligned(sizeof(MS_T))));
typedef MS_INT mask __attribute__((vector_size(MS_LANES * sizeof(MS_T))));

inline mask not_below(vec a, vec b) { return ~(mask)(a <= b); }

inline bool any(mask m) {
  MS_INT r = 0;
  for (int l = 0; l < MS_LANES; ++l) r |= m[l];
  return r != 0;
}

}  // namespace
}  // namespace medseg
