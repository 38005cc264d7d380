// Assignment of patches to queries so that no patch is given twice, and the order in which the slots hold the patches.
#pragma once
#include <algorithm>
#include <queue>

#include "../common/better_score.h"
#include "../common/codes.h"
#include "patch_products.h"

namespace medseg::cpu {

constexpr int64_t kSlotBlock = 64;

// Keys [n, r] of one item as a matrix whose row k is key k.
inline PatchMatrix key_matrix(int64_t n, int64_t r, int64_t tile) {
  return PatchMatrix(PatchGrid{1, {1, 1, r}, {1, 1, n}, {n * r, n * r, n * r, 1}}, true, tile);
}

// Queries m0 .. m0 + used as the columns of [padded rank, width].
template <class T>
void query_columns(const T* queries, int64_t r, int64_t m0, int64_t used, int64_t width, T* columns) {
  for (int64_t j = 0; j < r; ++j)
    for (int64_t c = 0; c < width; ++c) columns[j * width + c] = c < used ? queries[(m0 + c) * r + j] : (T)0;
}

// The best candidates of every query: `best` and `score` [m, kCandidates], descending; keys beyond n are -1.
template <class T>
void find_candidates(const T* keys, const T* queries, int64_t n, int64_t r, int64_t m, int32_t* best, T* score) {
  const ScoreTable<T>& table = score_table<T>();
  const PatchMatrix matrix = key_matrix(n, r, table.rows);
  const int64_t kept = std::min<int64_t>(kCandidates, n), blocks = (m + kSlotBlock - 1) / kSlotBlock;
  torch::stable::parallel_for(0, blocks, grain(n * r * kSlotBlock), [&](int64_t begin, int64_t end) {
    const int64_t width = round_up(kSlotBlock, table.lanes);
    std::vector<T> columns(matrix.entry.size() * width), all(matrix.row.size() * width), own(n);
    std::vector<int32_t> order(n);
    for (int64_t block = begin; block < end; ++block) {
      const int64_t m0 = block * kSlotBlock, used = std::min(kSlotBlock, m - m0);
      query_columns(queries, r, m0, used, width, columns.data());
      std::fill(all.begin(), all.end(), (T)0);
      table.project(keys, matrix.row.data(), 0, n, matrix.entry.data(), r, columns.data(), width, all.data());
      for (int64_t c = 0; c < used; ++c) {
        for (int64_t k = 0; k < n; ++k) {
          own[k] = all[k * width + c];
          order[k] = (int32_t)k;
        }
        std::partial_sort(order.begin(), order.begin() + kept, order.end(),
                          [&](int32_t a, int32_t b) { return better_score(own[a], a, own[b], b); });
        for (int64_t i = 0; i < kCandidates; ++i) {
          best[(m0 + c) * kCandidates + i] = i < kept ? order[i] : -1;
          score[(m0 + c) * kCandidates + i] = i < kept ? own[order[i]] : (T)0;
        }
      }
    }
  });
}

// Greedy by score over all (query, candidate) pairs, ties to the lower query. Queries that lose all their candidates take the
// remaining patches, both in ascending order.
template <class T>
void assign_greedily(const int32_t* best, const T* score, int64_t n, int64_t m, int32_t* patch_of) {
  std::vector<int32_t> next(m, 0);
  std::vector<char> taken(n, 0);
  const auto worse = [&](int32_t a, int32_t b) {
    return better_score(score[b * kCandidates + next[b]], b, score[a * kCandidates + next[a]], a);
  };
  std::priority_queue<int32_t, std::vector<int32_t>, decltype(worse)> open(worse);
  for (int64_t q = 0; q < m; ++q) {
    patch_of[q] = -1;
    open.push((int32_t)q);
  }
  while (!open.empty()) {
    const int32_t q = open.top();
    open.pop();
    const int32_t k = best[q * kCandidates + next[q]];
    if (!taken[k]) {
      taken[k] = 1;
      patch_of[q] = k;
    } else if (++next[q] < kCandidates && best[q * kCandidates + next[q]] >= 0) {
      open.push(q);
    }
  }
  int64_t free = 0;
  for (int64_t q = 0; q < m; ++q) {
    if (patch_of[q] >= 0) continue;
    while (taken[free]) ++free;
    taken[free] = 1;
    patch_of[q] = (int32_t)free;
  }
}

// Queries in the order of their patches, ties (repeats) to the lower query: slot i holds the patch of query slot_query[i].
inline void raster_order(const int32_t* patch_of, int64_t m, int32_t* slot_query) {
  for (int64_t q = 0; q < m; ++q) slot_query[q] = (int32_t)q;
  std::stable_sort(slot_query, slot_query + m, [&](int32_t a, int32_t b) { return patch_of[a] < patch_of[b]; });
}

}  // namespace medseg::cpu
