// A map [C, *S] read as the matrix of its patches (rows: patches, columns: entries of a patch) without a copy: the place of row i
// and column e is the sum of two offsets. Both tables are padded to the register tile by repeating their last entry.
#pragma once
#include <vector>

#include "../common/patch_grid.h"

namespace medseg::cpu {

inline int64_t round_up(int64_t n, int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }

struct PatchMatrix {
  std::vector<int64_t> row, entry;
  int64_t rows, entries;

  // channel_first: entries run channel-slowest. Maps whose channel is the contiguous axis are walked channel-fastest.
  PatchMatrix(const PatchGrid& g, bool channel_first, int64_t tile) : rows(patch_count(g)), entries(patch_entries(g)) {
    row.resize(round_up(rows, tile));
    entry.resize(round_up(entries, tile));
    const int64_t volume = patch_volume(g), channels = g.channels;
    for (int64_t i = 0; i < (int64_t)row.size(); ++i) row[i] = patch_offset(g, i < rows ? i : rows - 1);
    for (int64_t i = 0; i < (int64_t)entry.size(); ++i) {
      const int64_t e = i < entries ? i : entries - 1;
      entry[i] = entry_offset(g, channel_first ? e : e % channels * volume + e / channels);
    }
  }
};

// Rows [n, columns] copied to rows of `width` values; what is beyond `columns` becomes `fill`, then zero.
template <class T>
void pad_rows(const T* source, int64_t n, int64_t columns, int64_t width, T fill, T* target) {
  for (int64_t i = 0; i < n; ++i) {
    T* t = target + i * width;
    for (int64_t j = 0; j < width; ++j) t[j] = j < columns ? source[i * columns + j] : j == columns ? fill : (T)0;
  }
}

}  // namespace medseg::cpu
