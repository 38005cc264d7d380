// Products with the matrix of patches P of a map, by the vector kernels. Every sum is computed by one thread in a fixed order.
#pragma once
#include <algorithm>

#include "kernel_tables.h"
#include "op_helpers.h"
#include "patch_matrix.h"

namespace medseg::cpu {

constexpr int64_t kRowTile = 48;  // a multiple of every table's `rows` (4, 6, 8)

// moments[b] [entries, width] = (patch matrix of batch b)^T @ rows[b] [n, width].
template <class T>
void patch_moments(const ScoreTable<T>& table, const T* data, int64_t batch_stride, const PatchMatrix& matrix,
                   int64_t batch, const T* rows, bool shared_rows, int64_t width, T* moments) {
  const int64_t padded = matrix.entry.size(), groups = padded / table.rows;
  torch::stable::parallel_for(0, batch * groups, grain(matrix.rows * table.rows * width), [&](int64_t begin, int64_t end) {
    while (begin < end) {  // as many groups of one batch as possible in one call: they share the cached rows
      const int64_t b = begin / groups, e0 = begin % groups, e1 = std::min(groups, e0 + end - begin);
      table.accumulate(data + b * batch_stride, matrix.row.data(), matrix.rows, matrix.entry.data(), e0 * table.rows,
                       e1 * table.rows, rows + (shared_rows ? 0 : b * matrix.rows * width), width,
                       moments + b * padded * width);
      begin += e1 - e0;
    }
  });
}

// Calls use(b, i, row) for every row i of (patch matrix of batch b) @ a[b]; tiles are fixed, batches ascend inside a tile.
template <class T, class Use>
void patch_products(const ScoreTable<T>& table, const T* data, int64_t batch_stride, const PatchMatrix& matrix,
                    int64_t batch, const T* a, int64_t width, const Use& use) {
  const int64_t padded = matrix.entry.size(), tiles = (matrix.rows + kRowTile - 1) / kRowTile;
  torch::stable::parallel_for(0, tiles, grain(batch * kRowTile * matrix.entries * width), [&](int64_t begin, int64_t end) {
    std::vector<T> y(kRowTile * width);
    for (int64_t tile = begin; tile < end; ++tile)
      for (int64_t b = 0; b < batch; ++b) {
        const int64_t i0 = tile * kRowTile, i1 = std::min(matrix.rows, i0 + kRowTile);
        std::fill(y.begin(), y.end(), (T)0);
        table.project(data + b * batch_stride, matrix.row.data(), i0, i1, matrix.entry.data(), matrix.entries,
                      a + b * padded * width, width, y.data());
        for (int64_t i = i0; i < i1; ++i) use(b, i, y.data() + (i - i0) * width);
      }
  });
}

// <g_m, P_k*(m)>: it replaces <g_m, sum of all patches> if the maximum is treated as a constant.
template <class T>
T winner_product(const T* g, const T* x, const PatchMatrix& gm, const PatchMatrix& xm, int64_t m, int64_t k) {
  T part[4] = {0, 0, 0, 0};
  for (int64_t e = 0; e < xm.entries; ++e) part[e & 3] += g[gm.row[m] + gm.entry[e]] * x[xm.row[k] + xm.entry[e]];
  return (part[0] + part[1]) + (part[2] + part[3]);
}

}  // namespace medseg::cpu
