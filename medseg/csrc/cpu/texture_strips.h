// How the texture ops walk an image: strips of rows, over which the sums of a window's columns slide downwards.
#pragma once
#include "../common/texture_inputs.h"
#include "kernel_tables.h"
#include "op_helpers.h"

namespace medseg::cpu {

// Rows of a strip. The number is fixed, so that the sliding sums round in the same way for any number of threads.
constexpr int64_t kStripRows = 64;

// Rows [first, last) of slice z.
struct Strip {
  int64_t z, first, last;
};

inline int64_t strips_of(const TextureShape& s) { return s.size[0] * ((s.size[1] + kStripRows - 1) / kStripRows); }

inline Strip strip_at(const TextureShape& s, int64_t number) {
  const int64_t a_slice = (s.size[1] + kStripRows - 1) / kStripRows, first = number % a_slice * kStripRows;
  return {number / a_slice, first, std::min(first + kStripRows, s.size[1])};
}

// Makes the column sums those of the window around row y of slice z: all of its rows at the start of a strip, else those that
// differ from row y - 1. add(z, y, sign) adds or takes away a row of the image.
template <class Add>
void slide_to(const TextureShape& s, const Span& deep, const Span& rows, int64_t z, int64_t y, bool start, const Add& add) {
  const int64_t front = std::max<int64_t>(0, z + deep.low), back = std::min(s.size[0] - 1, z + deep.high);
  for (int64_t at = front; at <= back; ++at) {
    if (start) {
      const int64_t top = std::max<int64_t>(0, y + rows.low), bottom = std::min(s.size[1] - 1, y + rows.high);
      for (int64_t row = top; row <= bottom; ++row) add(at, row, 1);
      continue;
    }
    const int64_t leaving = y - 1 + rows.low, entering = y + rows.high;
    if (leaving >= 0 && leaving < s.size[1]) add(at, leaving, -1);
    if (entering >= 0 && entering < s.size[1]) add(at, entering, 1);
  }
}

}  // namespace medseg::cpu
