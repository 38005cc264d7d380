// The order of scores: the larger one wins, a tie goes to the lower index, and NaN counts as larger than every number (as in
// torch.argmax), so that a broken score is seen in the result and not ignored.
#pragma once
#include "host_device.h"

namespace medseg {

template <class T>
MS_HD bool better_score(T score, int32_t index, T best, int32_t best_index) {
  const bool nan = score != score;
  const bool best_nan = best != best;
  if (nan || best_nan) return nan && (!best_nan || index < best_index);
  return score > best || (score == best && index < best_index);
}

}  // namespace medseg
