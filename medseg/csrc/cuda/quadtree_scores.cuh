// Variation of the blocks of all rounds: cells or tiles from the voxels, then larger blocks from smaller ones. A "map" is one
// channel of one sample; levels are [maps, blocks of all rounds].
#pragma once
#include "../common/quadtree_metric.h"
#include "../common/quadtree_shape.h"
#include "launch.cuh"

namespace medseg {

// Strides in elements: batch, channel, z, y, x.
struct VoxelStrides {
  int64_t at[5];
};

// Factors of the difference of two voxels along each axis: neighbours of a voxel, and one-sided at the border.
struct Spacing {
  double central[3], one_sided[3];
};

template <class T>
__device__ T axis_difference(const T* p, int64_t i, int64_t n, int64_t stride, double central, double one_sided) {
  const bool low = i > 0, high = i + 1 < n;
  const T difference = p[high ? stride : 0] - p[low ? -stride : 0];
  return low || high ? difference * (T)(low && high ? central : one_sided) : (T)0;
}

// p: the voxel (z, y, x).
template <class T>
__device__ T gradient_length(const QuadtreeShape& s, const VoxelStrides& v, const Spacing& h, const T* p, int64_t z, int64_t y,
                             int64_t x) {
  const int64_t at[3] = {z, y, x};
  T sum = 0;
#pragma unroll
  for (int a = 0; a < 3; ++a) {
    const T g = axis_difference(p, at[a], s.size[a], v.at[2 + a], h.central[a], h.one_sided[a]);
    sum += g * g;
  }
  return sqrt(sum);
}

// At most 2^31 - 1 voxels.
struct CellBox {
  int32_t first[3], side[3], voxels;
};

// Offset of voxel k of a box, and its place in the map.
MS_HD int64_t box_voxel(const CellBox& box, const VoxelStrides& v, int32_t k, int32_t* at) {
  const int32_t line = k / box.side[2];
  at[2] = box.first[2] + k - line * box.side[2];
  at[1] = box.first[1] + line % box.side[1];
  at[0] = box.first[0] + line / box.side[1];
  return at[0] * v.at[2] + at[1] * v.at[3] + at[2] * v.at[4];
}

// Cell i of a map, in raster order over grid * cells.
MS_HD CellBox cell_box(const QuadtreeShape& s, int64_t i) {
  int64_t grid[3];
  for (int a = 0; a < 3; ++a) grid[a] = s.grid[s.rounds - 1][a] * s.cells[a];
  const Index3 at = unravel(grid, i);
  CellBox box;
  box.voxels = 1;
  for (int a = 0; a < 3; ++a) {
    int64_t first, end;
    cell_range(s, a, at.at[a] / s.cells[a], at.at[a] % s.cells[a], &first, &end);
    box.first[a] = (int32_t)first;
    box.side[a] = (int32_t)(end - first);
    box.voxels *= box.side[a];
  }
  return box;
}

// Summary of every cell (for kGradientMax the mean, -inf without a voxel), `lanes` threads each: a power of two up to 32.
template <class T>
__global__ void __launch_bounds__(256, 3) summarise_cells_kernel(const T* data, VoxelStrides v, QuadtreeShape s, Metric metric,
                                                              Spacing spacing, int lanes, int64_t per_map, int64_t count,
                                                              int64_t step, int64_t offset, Summary<T>* out) {
  __shared__ T first[256];
  __shared__ T second[256];
  const int tid = threadIdx.x, lane = tid % lanes, groups = 256 / lanes;
  for (int64_t base = (int64_t)blockIdx.x * groups; base < count; base += (int64_t)gridDim.x * groups) {
    const int64_t i = base + tid / lanes, map = i < count ? i / per_map : 0;
    CellBox box = cell_box(s, i < count ? i % per_map : 0);
    if (i >= count) box.voxels = 0;
    const T* source = data + map / s.channels * v.at[0] + map % s.channels * v.at[1];
    T mean = 0;
#pragma unroll 1
    for (int pass = 0; pass < (metric == Metric::kVariance ? 2 : 1); ++pass) {
      T a = metric == Metric::kRange ? -INFINITY : (T)0, b = metric == Metric::kRange ? INFINITY : (T)0;
#pragma unroll 1  // more would spill registers in float64
      for (int32_t k = lane; k < box.voxels; k += lanes) {
        int32_t at[3];
        const T* p = source + box_voxel(box, v, k, at);
        if (metric == Metric::kRange) {
          a = larger(a, *p);
          b = smaller(b, *p);
        } else if (metric == Metric::kVariance) {
          a += pass == 0 ? *p : (*p - mean) * (*p - mean);
        } else {
          a += gradient_length(s, v, spacing, p, at[0], at[1], at[2]);
        }
      }
      first[tid] = a;
      second[tid] = b;
      __syncthreads();
      for (int half = lanes / 2; half > 0; half /= 2) {
        if (lane < half) {
          first[tid] = metric == Metric::kRange ? larger(first[tid], first[tid + half]) : first[tid] + first[tid + half];
          second[tid] = smaller(second[tid], second[tid + half]);
        }
        __syncthreads();
      }
      const T total = first[tid - lane], other = second[tid - lane];
      __syncthreads();
      if (metric == Metric::kVariance && pass == 0) {
        mean = total / (T)(box.voxels > 0 ? box.voxels : 1);
        continue;
      }
      if (lane != 0 || i >= count) continue;
      Summary<T> result{total, other};
      if (metric == Metric::kVariance) result = {mean, total};
      if (metric == Metric::kGradientMax) result = {box.voxels > 0 ? total / (T)box.voxels : -(T)INFINITY, 0};
      out[map * step + offset + i % per_map] = result;
    }
  }
}

// kGradientMax: the tiles from their cells.
template <class T>
__global__ void __launch_bounds__(256) merge_cells_kernel(const Summary<T>* cells, QuadtreeShape s, int64_t maps,
                                                          Summary<T>* levels) {
  const int64_t tiles = tile_count(s), last = s.rounds - 1, blocks = s.start[s.rounds];
  int64_t grid[3];
  for (int a = 0; a < 3; ++a) grid[a] = s.grid[last][a] * s.cells[a];
  const int64_t per_map = grid[0] * grid[1] * grid[2];
  for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < maps * tiles; i += (int64_t)gridDim.x * blockDim.x) {
    const Index3 t = unravel(s.grid[last], i % tiles);
    T best = -INFINITY;
    for (int64_t k = 0; k < s.cells[0] * s.cells[1] * s.cells[2]; ++k) {
      Index3 c = unravel(s.cells, k);
      for (int a = 0; a < 3; ++a) c.at[a] += t.at[a] * s.cells[a];
      best = larger(best, cells[i / tiles * per_map + ravel(grid, c)].a);
    }
    levels[i / tiles * blocks + s.start[last] + i % tiles] = {best, 0};
  }
}

// Round r from round r + 1, children in raster order.
template <class T>
__global__ void __launch_bounds__(256) merge_children_kernel(QuadtreeShape s, Metric metric, int64_t r, int64_t maps,
                                                             Summary<T>* levels) {
  const int64_t count = block_count(s, r), blocks = s.start[s.rounds];
  int64_t factor[3];
  for (int a = 0; a < 3; ++a) factor[a] = s.grid[r + 1][a] / s.grid[r][a];
  for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < maps * count; i += (int64_t)gridDim.x * blockDim.x) {
    const Index3 p = unravel(s.grid[r], i % count);
    Summary<T>* own = levels + i / count * blocks;
    Summary<T> sum{0, 0};
    int64_t seen = 0;
    for (int64_t k = 0; k < factor[0] * factor[1] * factor[2]; ++k) {
      Index3 c = unravel(factor, k);
      for (int a = 0; a < 3; ++a) c.at[a] += p.at[a] * factor[a];
      const int64_t n = block_voxels(s, r + 1, c);
      if (n == 0) continue;
      sum = merge_summaries(metric, sum, seen, own[s.start[r + 1] + ravel(s.grid[r + 1], c)], n);
      seen += n;
    }
    own[s.start[r] + i % count] = sum;
  }
}

MS_HD int64_t round_of(const QuadtreeShape& s, int64_t block) {
  int64_t r = 0;
  while (block >= s.start[r + 1]) ++r;
  return r;
}

// score [batch, blocks] of the most varying channel: value(map, block, voxels) for every channel of a sample; -inf without a
// voxel.
template <class T, class Value>
__device__ void score_blocks(const QuadtreeShape& s, T* score, const Value& value) {
  const int64_t blocks = s.start[s.rounds];
  for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < s.batch * blocks; i += (int64_t)gridDim.x * blockDim.x) {
    const int64_t block = i % blocks, r = round_of(s, block);
    const int64_t n = block_voxels(s, r, unravel(s.grid[r], block - s.start[r]));
    T best = -INFINITY;
    if (n > 0)
      for (int64_t c = 0; c < s.channels; ++c) {
        const T found = value(i / blocks * s.channels + c, block, n);
        best = c == 0 ? found : larger(best, found);
      }
    score[i] = best;
  }
}

template <class T>
__global__ void __launch_bounds__(256) block_scores_kernel(const Summary<T>* levels, QuadtreeShape s, Metric metric, T* score) {
  const int64_t blocks = s.start[s.rounds];
  score_blocks(s, score, [&](int64_t map, int64_t block, int64_t n) { return block_variation(metric, levels[map * blocks + block], n); });
}

}  // namespace medseg
