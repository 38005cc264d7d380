// Variation of the blocks of all rounds from one pass over the image: rows to cells, cells to tiles, tiles merged upwards.
#pragma once
#include <torch/csrc/stable/ops.h>

#include <limits>
#include <vector>

#include "../common/quadtree_metric.h"
#include "ops.h"
#include "quadtree_rows.h"

namespace medseg::cpu {

// A run of voxels along x that belongs to one cell of tile `tile`.
struct CellRun {
  int64_t begin, end, tile;
};

inline std::vector<CellRun> cell_runs(const QuadtreeShape& s) {
  std::vector<CellRun> runs;
  for (int64_t t = 0; t < s.inside[s.rounds - 1][2]; ++t)
    for (int64_t k = 0; k < s.cells[2]; ++k) {
      CellRun run{0, 0, t};
      cell_range(s, 2, t, k, &run.begin, &run.end);
      if (run.begin < run.end) runs.push_back(run);
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

// The tiles of one row of tiles (tz, ty), cell by cell. Scratch: three rows.
template <class T, Metric M>
void summarise_tiles(const QuadtreeShape& s, const Volume<T>& v, int64_t tz, int64_t ty, const double* spacing,
                     const std::vector<CellRun>& runs, T* scratch, int64_t* seen, Summary<T>* tiles) {
  const int64_t n = v.size[2];
  T *sum = scratch, *other = scratch + n, *mean = scratch + 2 * n;
  for (int64_t t = 0; t < s.inside[s.rounds - 1][2]; ++t) seen[t] = 0;
  for (int64_t kz = 0; kz < s.cells[0]; ++kz)
    for (int64_t ky = 0; ky < s.cells[1]; ++ky) {
      int64_t z0, z1, y0, y1;
      cell_range(s, 0, tz, kz, &z0, &z1);
      cell_range(s, 1, ty, ky, &y0, &y1);
      const int64_t rows = (z1 - z0) * (y1 - y0);
      if (rows == 0) continue;
      for (int64_t x = 0; x < n; ++x) sum[x] = M == Metric::kRange ? -std::numeric_limits<T>::infinity() : (T)0;
      for (int64_t x = 0; x < n; ++x) other[x] = M == Metric::kRange ? std::numeric_limits<T>::infinity() : (T)0;
      for (int64_t z = z0; z < z1; ++z)
        for (int64_t y = y0; y < y1; ++y) {
          if constexpr (M == Metric::kRange) widen_range_row(v.row(z, y), n, sum, other);
          else if constexpr (M == Metric::kVariance) add_row(v.row(z, y), n, sum);
          else add_gradient_row(v, z, y, spacing, sum);
        }
      if constexpr (M == Metric::kVariance) {
        for (const CellRun& run : runs) {
          T total = 0;
          for (int64_t x = run.begin; x < run.end; ++x) total += sum[x];
          const T value = total / (T)(rows * (run.end - run.begin));
          for (int64_t x = run.begin; x < run.end; ++x) mean[x] = value;
        }
        for (int64_t z = z0; z < z1; ++z)
          for (int64_t y = y0; y < y1; ++y) add_square_row(v.row(z, y), mean, n, other);
      }
      for (const CellRun& run : runs) {
        const int64_t count = rows * (run.end - run.begin);
        Summary<T> cell{sum[run.begin], other[run.begin]};
        for (int64_t x = run.begin + 1; x < run.end; ++x) {
          cell.a = M == Metric::kRange ? larger(cell.a, sum[x]) : cell.a + sum[x];
          cell.b = M == Metric::kRange ? smaller(cell.b, other[x]) : cell.b + other[x];
        }
        if (M == Metric::kGradientMax) cell.a /= (T)count;
        if (M == Metric::kVariance) cell.a = mean[run.begin];
        tiles[run.tile] = merge_summaries(M, tiles[run.tile], seen[run.tile], cell, count);
        seen[run.tile] += count;
      }
    }
}

// levels: summaries of all rounds of one channel, the last round filled in; fills the coarser ones.
template <class T>
void merge_levels(const QuadtreeShape& s, Metric metric, const std::vector<int64_t>& counts, Summary<T>* levels) {
  for (int64_t r = s.rounds - 2; r >= 0; --r) {
    std::vector<int64_t> seen(block_count(s, r), 0);
    for (int64_t i = 0; i < block_count(s, r + 1); ++i) {
      const int64_t n = counts[s.start[r + 1] + i];
      if (n == 0) continue;
      const int64_t p = parent_block(s, r + 1, unravel(s.grid[r + 1], i), r);
      Summary<T>& target = levels[s.start[r] + p];
      target = merge_summaries(metric, target, seen[p], levels[s.start[r + 1] + i], n);
      seen[p] += n;
    }
  }
}

template <class T, Metric M>
void metric_scores(const QuadtreeShape& s, const std::vector<Volume<T>>& maps, const double* spacing, T* score) {
  const std::vector<CellRun> runs = cell_runs(s);
  const std::vector<int64_t> counts = voxel_counts(s);
  const int64_t blocks = s.start[s.rounds], last = s.rounds - 1, bands = s.inside[last][0] * s.inside[last][1];
  std::vector<Summary<T>> levels(s.batch * s.channels * blocks);
  const int64_t band_work = s.tile[0] * s.tile[1] * s.size[2];
  torch::stable::parallel_for(0, (int64_t)maps.size() * bands, grain(8 * band_work), [&](int64_t begin, int64_t end) {
    std::vector<T> scratch(3 * s.size[2]);
    std::vector<int64_t> seen(s.grid[last][2]);
    for (int64_t i = begin; i < end; ++i) {
      const int64_t map = i / bands, tz = i % bands / s.inside[last][1], ty = i % bands % s.inside[last][1];
      Summary<T>* row = levels.data() + map * blocks + s.start[last] + (tz * s.grid[last][1] + ty) * s.grid[last][2];
      summarise_tiles<T, M>(s, maps[map], tz, ty, spacing, runs, scratch.data(), seen.data(), row);
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
    for (int64_t i = 0; i < block_count(s, r + 1); ++i) {
      const int64_t p = s.start[r] + parent_block(s, r + 1, unravel(s.grid[r + 1], i), r);
      for (int k = 0; k < kEntropyBins; ++k)
        bins[p * kEntropyBins + k] += bins[(s.start[r + 1] + i) * kEntropyBins + k];
    }
}

template <class T>
void entropy_scores(const QuadtreeShape& s, const std::vector<Volume<T>>& maps, T* score) {
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
          for (int64_t y = 0; y < s.size[1]; ++y) widen_range_row(v.row(z, y), s.size[2], high, low);
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
