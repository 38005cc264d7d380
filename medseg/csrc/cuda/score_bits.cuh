// Scores as unsigned integers, for a search of the n-th largest bit by bit.
#pragma once
#include <cstring>

#include "launch.cuh"

namespace medseg {

template <class T>
struct ScoreBits {
  using type = uint32_t;
};
template <>
struct ScoreBits<double> {
  using type = uint64_t;
};
template <class T>
using score_bits_t = typename ScoreBits<T>::type;

// A number above 0 that is ordered as better_score orders scores: NaN above every number, -0 equal to 0.
template <class T>
__device__ inline score_bits_t<T> ordered_bits(T score) {
  using Bits = score_bits_t<T>;
  const Bits top = (Bits)1 << (8 * sizeof(Bits) - 1);
  if (score != score) return ~(Bits)0;
  const T number = score + (T)0;  // -0 becomes 0
  Bits bits;
  memcpy(&bits, &number, sizeof(bits));
  return bits & top ? ~bits : bits | top;
}

}  // namespace medseg
