// Variation of the blocks of all rounds from one pass over the image: rows to cells, cells to tiles, tiles merged upwards.
#pragma once
#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "../common/quadtree_metric.h"
#include "op_helpers.h"
#include "quadtree_children.h"
#include "quadtree_rows.h"

namespace medseg::cpu {

// One map: strides in elements, x contiguous.
template <class T>
struct Volume {
  const T* data;
  int64_t size[3], stride[2];
  const T* row(int64_t z, int64_t y) const { return data + z * stride[0] + y * stride[1]; }
};

// Neighbours of a position along an axis and the factor of their difference: central, one-sided at the border.
template <class T>
struct Difference {
  int64_t low, high;
  T factor;
  Difference(int64_t i, int64_t n, double step)
      : low(i > 0 ? i - 1 : 0), high(i + 1 < n ? i + 1 : i),
        factor((T)(high == low ? 0.0 : high - low == 2 ? 0.5 / step : 1.0 / step)) {}
};

// sum[x] += length of the gradient at (z, y, x).
template <class T>
void add_gradient_row(const QuadtreeTable<T>& table, const Volume<T>& v, int64_t z, int64_t y, const double* spacing, T* sum) {
  const Difference<T> dz(z, v.size[0], spacing[0]), dy(y, v.size[1], spacing[1]);
  const T* rows[5] = {v.row(dz.low, y), v.row(dz.high, y), v.row(z, dy.low), v.row(z, dy.high), v.row(z, y)};
  const T factor[3] = {dz.factor, dy.factor, (T)(0.5 / spacing[2])};
  const int64_t n = v.size[2];
  table.gradient_row(rows, factor, n, v.size[0] > 1, sum);
  for (int64_t x = 0; x < n; x += n > 1 ? n - 1 : 1) {
    const Difference<T> dx(x, n, spacing[2]);
    const T gz = dz.low == dz.high ? (T)0 : (rows[1][x] - rows[0][x]) * dz.factor;
    const T gy = dy.low == dy.high ? (T)0 : (rows[3][x] - rows[2][x]) * dy.factor;
    const T gx = n == 1 ? (T)0 : (rows[4][dx.high] - rows[4][dx.low]) * dx.factor;
    sum[x] += std::sqrt(gz * gz + gy * gy + gx * gx);
  }
}

// A run of voxels along x that belongs to one cell of tile `tile`.
struct CellRun {
  int32_t begin, end, tile;
};

inline std::vector<CellRun> cell_runs(const QuadtreeShape& s) {
  std::vector<CellRun> runs;
  for (int64_t t = 0; t < s.inside[s.rounds - 1][2]; ++t)
    for (int64_t k = 0; k < s.cells[2]; ++k) {
      int64_t begin, end;
      cell_range(s, 2, t, k, &begin, &end);
      if (begin < end) runs.push_back({(int32_t)begin, (int32_t)end, (int32_t)t});
    }
  return runs;
}

// Voxels of every block of every round.
inline std::vector<int64_t> voxel_counts(const QuadtreeShape& s) {
  std::vector<int64_t> counts(s.start[s.rounds]);
  for (int64_t r = 0; r < s.rounds; ++r)
    for (int64_t i = 0; i < block_count(s, r); ++i) counts[s.start[r] + i] = block_voxels(s, r, unravel(s.grid[r], i));
  return counts;
}

// Three scratch rows: the values that a row of cells collects in each column of voxels.
template <class T>
struct Columns {
  std::vector<T> memory;
  T *sum, *other, *mean;
  explicit Columns(int64_t n) : memory(3 * n), sum(memory.data()), other(sum + n), mean(other + n) {}
};

// Columns of the rows [z0, z1) x [y0, y1): sums (and squared deviations from the cells' means), or maximum and minimum.
template <class T, Metric M>
void collect_columns(const QuadtreeTable<T>& table, const Volume<T>& v, const int64_t* z, const int64_t* y, const double* spacing,
                     const std::vector<CellRun>& runs, Columns<T>& c) {
  const int64_t n = v.size[2], rows = (z[1] - z[0]) * (y[1] - y[0]);
  const T edge = M == Metric::kRange ? std::numeric_limits<T>::infinity() : (T)0;
  std::fill(c.sum, c.sum + n, -edge);
  std::fill(c.other, c.other + n, edge);
  const auto each_row = [&](auto&& visit) {
    for (int64_t i = z[0]; i < z[1]; ++i)
      for (int64_t j = y[0]; j < y[1]; ++j) visit(i, j);
  };
  each_row([&](int64_t i, int64_t j) {
    if constexpr (M == Metric::kRange) table.widen_range_row(v.row(i, j), n, c.sum, c.other);
    else if constexpr (M == Metric::kVariance) table.add_row(v.row(i, j), n, c.sum);
    else add_gradient_row(table, v, i, j, spacing, c.sum);
  });
  if constexpr (M == Metric::kVariance) {
    for (const CellRun& run : runs) {
      T total = 0;
      for (int64_t x = run.begin; x < run.end; ++x) total += c.sum[x];
      std::fill(c.mean + run.begin, c.mean + run.end, total / (T)(rows * (run.end - run.begin)));
    }
    each_row([&](int64_t i, int64_t j) { table.add_square_row(v.row(i, j), c.mean, n, c.other); });
  }
}

template <class T, Metric M>
Summary<T> run_summary(const Columns<T>& c, const CellRun& run) {
  Summary<T> cell{c.sum[run.begin], c.other[run.begin]};
  for (int64_t x = run.begin + 1; x < run.end; ++x) {
    cell.a = M == Metric::kRange ? larger(cell.a, c.sum[x]) : cell.a + c.sum[x];
    if (M == Metric::kRange) cell.b = smaller(cell.b, c.other[x]);
    if (M == Metric::kVariance) cell.b += c.other[x];
  }
  if (M == Metric::kVariance) cell.a = c.mean[run.begin];
  return cell;
}

// For each column of cells: its width, its sum in the current row of cells, its largest mean so far.
template <class T>
struct CellColumns {
  std::vector<T> width, sum, best;
  explicit CellColumns(const std::vector<CellRun>& runs) : sum(runs.size()), best(runs.size()) {
    for (const CellRun& run : runs) width.push_back((T)(run.end - run.begin));
  }
};

// The tiles of one row of tiles (tz, ty). Only kGradientMax has cells.
template <class T, Metric M>
void summarise_tiles(const QuadtreeShape& s, const QuadtreeTable<T>& table, const Volume<T>& v, int64_t tz, int64_t ty,
                     const double* spacing, const std::vector<CellRun>& runs, Columns<T>& columns,
                     CellColumns<T>& cells, Summary<T>* tiles) {
  std::fill(cells.best.begin(), cells.best.end(), -std::numeric_limits<T>::infinity());
  for (int64_t kz = 0; kz < s.cells[0]; ++kz)
    for (int64_t ky = 0; ky < s.cells[1]; ++ky) {
      int64_t z[2], y[2];
      cell_range(s, 0, tz, kz, z, z + 1);
      cell_range(s, 1, ty, ky, y, y + 1);
      const int64_t rows = (z[1] - z[0]) * (y[1] - y[0]);
      if (rows == 0) continue;
      collect_columns<T, M>(table, v, z, y, spacing, runs, columns);
      for (size_t i = 0; i < runs.size(); ++i) {
        const Summary<T> cell = run_summary<T, M>(columns, runs[i]);
        if constexpr (M == Metric::kGradientMax) cells.sum[i] = cell.a;
        else tiles[runs[i].tile] = cell;
      }
      if constexpr (M == Metric::kGradientMax)
        table.raise_to_mean(cells.sum.data(), cells.width.data(), (T)rows, (int64_t)runs.size(), cells.best.data());
    }
  if constexpr (M == Metric::kGradientMax) {
    for (const CellRun& run : runs) tiles[run.tile].a = -std::numeric_limits<T>::infinity();
    for (size_t i = 0; i < runs.size(); ++i) tiles[runs[i].tile].a = larger(tiles[runs[i].tile].a, cells.best[i]);
  }
}

// levels: summaries of all rounds of one channel, the last round filled in; fills the coarser ones.
template <class T>
void merge_levels(const QuadtreeShape& s, Metric metric, const std::vector<int64_t>& counts, Summary<T>* levels) {
  for (int64_t r = s.rounds - 2; r >= 0; --r) {
    std::vector<int64_t> seen(block_count(s, r), 0);
    each_child(s, r + 1, r, [&](int64_t child, int64_t parent) {
      const int64_t n = counts[s.start[r + 1] + child];
      Summary<T>& target = levels[s.start[r] + parent];
      target = merge_summaries(metric, target, seen[parent], levels[s.start[r + 1] + child], n);
      seen[parent] += n;
    });
  }
}

template <class T, Metric M>
void metric_scores(const QuadtreeShape& shape, const QuadtreeTable<T>& table, const std::vector<Volume<T>>& maps, const double* spacing, T* score) {
  const QuadtreeShape s = M == Metric::kGradientMax ? shape : without_cells(shape);
  const std::vector<CellRun> runs = cell_runs(s);
  const std::vector<int64_t> counts = voxel_counts(s);
  const int64_t blocks = s.start[s.rounds], last = s.rounds - 1, bands = s.inside[last][0] * s.inside[last][1];
  std::vector<Summary<T>> levels(s.batch * s.channels * blocks);
  const int64_t band_work = s.tile[0] * s.tile[1] * s.size[2];
  torch::stable::parallel_for(0, (int64_t)maps.size() * bands, grain(8 * band_work), [&](int64_t begin, int64_t end) {
    Columns<T> columns(s.size[2]);
    CellColumns<T> cells(runs);
    for (int64_t i = begin; i < end; ++i) {
      const int64_t map = i / bands, tz = i % bands / s.inside[last][1], ty = i % bands % s.inside[last][1];
      Summary<T>* row = levels.data() + map * blocks + s.start[last] + (tz * s.grid[last][1] + ty) * s.grid[last][2];
      summarise_tiles<T, M>(s, table, maps[map], tz, ty, spacing, runs, columns, cells, row);
    }
  });
  torch::stable::parallel_for(0, s.batch, grain(20 * s.channels * blocks), [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b)
      for (int64_t c = 0; c < s.channels; ++c) {
        Summary<T>* own = levels.data() + (b * s.channels + c) * blocks;
        merge_levels(s, M, counts, own);
        for (int64_t i = 0; i < blocks; ++i) {
          T& out = score[b * blocks + i];
          const T value = counts[i] ? block_variation(M, own[i], counts[i]) : -std::numeric_limits<T>::infinity();
          out = c == 0 ? value : larger(out, value);
        }
      }
  });
}

// Histograms of all rounds of one map [blocks, bins], the coarser ones added up from the finer.
template <class T>
void fill_histograms(const QuadtreeShape& s, const Volume<T>& v, T low, T factor, std::vector<int32_t>& bins) {
  const int64_t last = s.rounds - 1;
  std::fill(bins.begin(), bins.end(), 0);
  for (int64_t z = 0; z < s.size[0]; ++z)
    for (int64_t y = 0; y < s.size[1]; ++y) {
      const T* row = v.row(z, y);
      const int64_t line = (z / s.tile[0] * s.grid[last][1] + y / s.tile[1]) * s.grid[last][2];
      int32_t* at = bins.data() + (s.start[last] + line) * kEntropyBins;
      for (int64_t x0 = 0; x0 < s.size[2]; x0 += s.tile[2], at += kEntropyBins)
        for (int64_t x = x0; x < x0 + s.tile[2] && x < s.size[2]; ++x) ++at[histogram_bin(row[x], low, factor)];
    }
  for (int64_t r = last - 1; r >= 0; --r)
    each_child(s, r + 1, r, [&](int64_t child, int64_t parent) {
      const int32_t* from = bins.data() + (s.start[r + 1] + child) * kEntropyBins;
      int32_t* to = bins.data() + (s.start[r] + parent) * kEntropyBins;
      for (int k = 0; k < kEntropyBins; ++k) to[k] += from[k];
    });
}

template <class T>
void entropy_scores(const QuadtreeShape& s, const QuadtreeTable<T>& table, const std::vector<Volume<T>>& maps, T* score) {
  const std::vector<int64_t> counts = voxel_counts(s);
  const int64_t blocks = s.start[s.rounds];
  torch::stable::parallel_for(0, s.batch, 1, [&](int64_t begin, int64_t end) {
    std::vector<int32_t> bins(blocks * kEntropyBins);
    std::vector<T> range(2 * s.size[2]);
    for (int64_t b = begin; b < end; ++b)
      for (int64_t c = 0; c < s.channels; ++c) {
        const Volume<T>& v = maps[b * s.channels + c];
        T *high = range.data(), *low = high + s.size[2];
        for (int64_t x = 0; x < s.size[2]; ++x) high[x] = low[x] = v.data[x];
        for (int64_t z = 0; z < s.size[0]; ++z)
          for (int64_t y = 0; y < s.size[1]; ++y) table.widen_range_row(v.row(z, y), s.size[2], high, low);
        for (int64_t x = 1; x < s.size[2]; ++x) {
          high[0] = larger(high[0], high[x]);
          low[0] = smaller(low[0], low[x]);
        }
        const T factor = bin_factor(low[0], high[0]);
        fill_histograms(s, v, low[0], factor, bins);
        for (int64_t i = 0; i < blocks; ++i) {
          T value = -std::numeric_limits<T>::infinity();
          if (counts[i]) value = factor == factor ? histogram_entropy<T>(bins.data() + i * kEntropyBins, counts[i]) : factor;
          T& out = score[b * blocks + i];
          out = c == 0 ? value : larger(out, value);
        }
      }
  });
}

}  // namespace medseg::cpu
