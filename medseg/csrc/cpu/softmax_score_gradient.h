// Gradient of the scores of every slot under the softmax surrogate, block after block of slots: the memory is N * kSlotBlock
// values instead of N * M.
//
// With a_mk = <G_m, P_k> and pi_m = softmax(S_m / tau): dS_mk = slope / tau * pi_mk (a_mk - sum_l pi_ml a_ml).
#pragma once
#include <cmath>
#include <limits>

#include "patch_assign.h"
#include "patch_products.h"

namespace medseg::cpu {

// One block of slots of one batch item; scores and uses are [padded patches, width].
template <class T>
struct SlotBlock {
  int64_t n, width;
  std::vector<T> scores, uses, top, total, mean;

  SlotBlock(int64_t patches, int64_t padded, int64_t w)
      : n(patches), width(w), scores(padded * w), uses(padded * w), top(w), total(w), mean(w) {}

  template <class Row>
  void over_rows(const Row& row) {
    const int64_t tiles = (n + kRowTile - 1) / kRowTile;
    torch::stable::parallel_for(0, tiles, grain(kRowTile * width * 16), [&](int64_t begin, int64_t end) {
      for (int64_t k = begin * kRowTile; k < std::min(n, end * kRowTile); ++k) row(k, &scores[k * width], &uses[k * width]);
    });
  }

  // scores become the gradient of the scores.
  void differentiate(T slope, T tau) {
    std::fill(top.begin(), top.end(), -std::numeric_limits<T>::infinity());
    for (int64_t k = 0; k < n; ++k)
      for (int64_t c = 0; c < width; ++c) top[c] = std::max(top[c], scores[k * width + c]);
    over_rows([&](int64_t, T* s, const T*) {
      for (int64_t c = 0; c < width; ++c) s[c] = std::exp((s[c] - top[c]) / tau);
    });
    std::fill(total.begin(), total.end(), (T)0);
    std::fill(mean.begin(), mean.end(), (T)0);
    for (int64_t k = 0; k < n; ++k)
      for (int64_t c = 0; c < width; ++c) {
        total[c] += scores[k * width + c];
        mean[c] += scores[k * width + c] * uses[k * width + c];
      }
    for (int64_t c = 0; c < width; ++c) mean[c] /= total[c];
    over_rows([&](int64_t, T* s, const T* a) {
      for (int64_t c = 0; c < width; ++c) s[c] *= slope / tau / total[c] * (a[c] - mean[c]);
    });
  }
};

template <class T>
void project_all(const ScoreTable<T>& table, const T* data, const PatchMatrix& matrix, const T* columns, int64_t width, T* out) {
  const int64_t tiles = (matrix.rows + kRowTile - 1) / kRowTile;
  torch::stable::parallel_for(0, tiles, grain(kRowTile * matrix.entries * width), [&](int64_t begin, int64_t end) {
    const int64_t i0 = begin * kRowTile, i1 = std::min(matrix.rows, end * kRowTile);
    std::fill(out + i0 * width, out + round_up(i1, table.rows) * width, (T)0);
    table.project(data, matrix.row.data(), i0, i1, matrix.entry.data(), matrix.entries, columns, width, out + i0 * width);
  });
}

// One item: dkeys [n, r] receives, dqueries [m, r] is written.
template <class T>
void softmax_item_gradient(const ScoreTable<T>& table, int64_t n, int64_t m, int64_t r, const T* grad, const PatchMatrix& gm,
                           const T* x, const PatchMatrix& xm, const T* keys, const T* queries, T slope, T tau, T* dkeys,
                           T* dqueries) {
  const int64_t width = round_up(std::min(kSlotBlock, m), table.lanes), rank = round_up(r, table.lanes);
  const PatchMatrix km = key_matrix(n, r, table.rows);
  SlotBlock<T> block(n, round_up(n, kRowTile), width);
  PatchMatrix bm = key_matrix(n, width, table.rows);  // the block itself: row k has `width` entries
  std::vector<T> columns(km.entry.size() * width), grad_columns(gm.entry.size() * width), padded_keys(n * rank);
  std::vector<T> rows(bm.entry.size() * rank), from_block(round_up(n, kRowTile) * rank), moments(bm.entry.size() * rank);
  pad_rows<T>(keys, n, r, rank, 0, padded_keys.data());
  for (int64_t m0 = 0; m0 < m; m0 += kSlotBlock) {
    const int64_t used = std::min(kSlotBlock, m - m0);
    query_columns(queries, r, m0, used, width, columns.data());
    for (int64_t e = 0; e < gm.entries; ++e)
      for (int64_t c = 0; c < width; ++c)
        grad_columns[e * width + c] = c < used ? grad[gm.row[m0 + c] + gm.entry[e]] : (T)0;
    project_all(table, keys, km, columns.data(), width, block.scores.data());
    project_all(table, x, xm, grad_columns.data(), width, block.uses.data());
    block.differentiate(slope, tau);
    std::fill(rows.begin(), rows.end(), (T)0);
    pad_rows<T>(queries + m0 * r, used, r, rank, 0, rows.data());
    project_all(table, block.scores.data(), bm, rows.data(), rank, from_block.data());
    for (int64_t k = 0; k < n; ++k)
      for (int64_t j = 0; j < r; ++j) dkeys[k * r + j] += from_block[k * rank + j];
    std::fill(moments.begin(), moments.end(), (T)0);
    patch_moments(table, block.scores.data(), (int64_t)0, bm, (int64_t)1, padded_keys.data(), true, rank, moments.data());
    for (int64_t c = 0; c < used; ++c)
      for (int64_t j = 0; j < r; ++j) dqueries[(m0 + c) * r + j] = moments[c * rank + j];
  }
}

template <class T>
void softmax_score_gradient(const ScoreShape& s, const Tensor& grad, const Tensor& x, const Tensor& keys, const Tensor& queries,
                            int64_t patch, T slope, T tau, Tensor& dkeys, Tensor& dqueries) {
  const ScoreTable<T>& table = score_table<T>();
  const bool channel_first = x.stride(1) != 1 || x.size(1) == 1;
  const PatchMatrix xm(patch_grid(x, patch), channel_first, table.rows), gm(patch_grid(grad, patch), channel_first, table.rows);
  const T *g = grad.const_data_ptr<T>(), *p = x.const_data_ptr<T>(), *h = keys.const_data_ptr<T>();
  const T* w = queries.const_data_ptr<T>();
  T *dh = dkeys.mutable_data_ptr<T>(), *dw = dqueries.mutable_data_ptr<T>();
  const int64_t gb = grad.stride(0), xb = x.stride(0), query_count = s.queries * s.rank, key_count = s.keys * s.rank;
  std::vector<T> parts(s.batch * query_count);  // one sum of queries per item, added in the order of the batch
  torch::stable::parallel_for(0, s.batch, 1, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b)
      softmax_item_gradient(table, s.keys, s.queries, s.rank, g + b * gb, gm, p + b * xb, xm, h + b * key_count, w, slope, tau,
                            dh + b * key_count, parts.data() + b * query_count);
  });
  for (int64_t b = 0; b < s.batch; ++b)
    for (int64_t i = 0; i < query_count; ++i) dw[i] += parts[b * query_count + i];
}

}  // namespace medseg::cpu
