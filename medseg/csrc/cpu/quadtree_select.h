// Selection of blocks by score, round by round inside the blocks kept before, and the lists of active tiles.
#pragma once
#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <vector>

#include "../common/better_score.h"
#include "../common/quadtree_inputs.h"
#include "op_helpers.h"
#include "quadtree_children.h"

namespace medseg::cpu {

// kept: one flag per block of every round of one sample.
template <class T>
void select_blocks(const QuadtreeChoice& choice, const T* score, uint8_t* kept) {
  const QuadtreeShape& s = choice.shape;
  std::vector<int32_t> candidates;
  for (int64_t r = 0; r < s.rounds; ++r) {
    const T *value = score + s.start[r], limit = (T)choice.limit[r];
    candidates.clear();
    const uint8_t* above = r > 0 ? kept + s.start[r - 1] : nullptr;
    each_child(s, r, r > 0 ? r - 1 : 0, [&](int64_t block, int64_t parent) {
      if (above != nullptr && !above[parent]) return;
      if (choice.limited && value[block] <= limit) return;  // NaN stays, so that a broken score is noticed
      candidates.push_back((int32_t)block);
    });
    const int64_t keep = std::min<int64_t>(choice.keep[r], (int64_t)candidates.size());
    if (keep < (int64_t)candidates.size())
      std::nth_element(candidates.begin(), candidates.begin() + keep, candidates.end(),
                       [value](int32_t a, int32_t b) { return better_score(value[a], a, value[b], b); });
    for (int64_t k = 0; k < keep; ++k) kept[s.start[r] + candidates[k]] = 1;
  }
}

// mask [tiles] of round r for one sample.
inline void mark_tiles(const QuadtreeShape& s, int64_t r, const uint8_t* kept, bool* mask) {
  std::fill(mask, mask + tile_count(s), false);
  each_child(s, s.rounds - 1, r, [&](int64_t tile, int64_t block) { mask[tile] = kept[s.start[r] + block] != 0; });
}

template <class T>
void run_select(const QuadtreeChoice& choice, const T* score, QuadtreeLists& lists) {
  const QuadtreeShape& s = choice.shape;
  const int64_t blocks = s.start[s.rounds], tiles = tile_count(s);
  int32_t *index = lists.index.mutable_data_ptr<int32_t>(), *total = lists.count.mutable_data_ptr<int32_t>();
  bool* mask = lists.mask.mutable_data_ptr<bool>();
  torch::stable::parallel_for(0, s.batch, grain(40 * blocks), [&](int64_t begin, int64_t end) {
    std::vector<uint8_t> kept(blocks);
    for (int64_t b = begin; b < end; ++b) {
      std::fill(kept.begin(), kept.end(), (uint8_t)0);
      select_blocks(choice, score + b * blocks, kept.data());
      for (int64_t r = 0; r < s.rounds; ++r)
        mark_tiles(s, r, kept.data(), mask + (r * s.batch + b) * tiles);
    }
  });
  for (int64_t r = 0; r < s.rounds; ++r) {
    const bool* row = mask + r * s.batch * tiles;
    int32_t *out = index + r * choice.width, *end = out + choice.width;
    for (int64_t t = 0; t < s.batch * tiles; ++t)
      if (row[t]) *out++ = (int32_t)t;
    total[r] = (int32_t)(out - (index + r * choice.width));
    std::fill(out, end, -1);
  }
}

}  // namespace medseg::cpu
