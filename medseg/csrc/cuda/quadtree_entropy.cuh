// Entropy of the blocks of all rounds: range of every map, histograms of the tiles, sums upwards.
#pragma once
#include "quadtree_scores.cuh"

namespace medseg {

// range[map] = {maximum, minimum}, one block per map.
template <class T>
__global__ void __launch_bounds__(256) map_range_kernel(const T* data, VoxelStrides v, QuadtreeShape s, int64_t maps,
                                                        Summary<T>* range) {
  __shared__ T high[256];
  __shared__ T low[256];
  const int tid = threadIdx.x;
  const int64_t voxels = s.size[0] * s.size[1] * s.size[2];
  for (int64_t map = blockIdx.x; map < maps; map += gridDim.x) {
    const T* source = data + map / s.channels * v.at[0] + map % s.channels * v.at[1];
    T h = -INFINITY, l = INFINITY;
    for (int64_t k = tid; k < voxels; k += 256) {
      const Index3 i = unravel(s.size, k);
      const T value = source[i.at[0] * v.at[2] + i.at[1] * v.at[3] + i.at[2] * v.at[4]];
      h = larger(h, value);
      l = smaller(l, value);
    }
    high[tid] = h;
    low[tid] = l;
    __syncthreads();
    for (int half = 128; half > 0; half /= 2) {
      if (tid < half) {
        high[tid] = larger(high[tid], high[tid + half]);
        low[tid] = smaller(low[tid], low[tid + half]);
      }
      __syncthreads();
    }
    if (tid == 0) range[map] = {high[0], low[0]};
    __syncthreads();
  }
}

// Histograms of the tiles, one block per tile: 256 voxels are sorted into bins at a time, and 8 x 32 threads count them.
template <class T>
__global__ void __launch_bounds__(256) tile_histogram_kernel(const T* data, VoxelStrides v, QuadtreeShape s,
                                                             const Summary<T>* range, int64_t maps, int32_t* bins) {
  __shared__ int32_t bin_of[256];
  __shared__ int32_t part[8][kEntropyBins];
  const int tid = threadIdx.x, bin = tid % kEntropyBins, slice = tid / kEntropyBins;
  const int64_t tiles = tile_count(s), blocks = s.start[s.rounds], last = s.rounds - 1;
  for (int64_t i = blockIdx.x; i < maps * tiles; i += gridDim.x) {
    const int64_t map = i / tiles;
    const CellBox box = cell_box(s, i % tiles);
    const T* source = data + map / s.channels * v.at[0] + map % s.channels * v.at[1];
    const T low = range[map].b, factor = bin_factor(range[map].b, range[map].a);
    int32_t count = 0;
    for (int32_t k0 = 0; k0 < box.voxels; k0 += 256) {
      bin_of[tid] = -1;
      if (k0 + tid < box.voxels) {
        int32_t at[3];
        bin_of[tid] = histogram_bin(source[box_voxel(box, v, k0 + tid, at)], low, factor);
      }
      __syncthreads();
      for (int k = 0; k < 32; ++k) count += bin_of[slice * 32 + k] == bin;
      __syncthreads();
    }
    part[slice][bin] = count;
    __syncthreads();
    if (slice == 0) {
      for (int k = 1; k < 8; ++k) count += part[k][bin];
      bins[(map * blocks + s.start[last] + i % tiles) * kEntropyBins + bin] = count;
    }
    __syncthreads();
  }
}

// Histograms of round r from those of round r + 1.
static __global__ void __launch_bounds__(256) add_histograms_kernel(QuadtreeShape s, int64_t r, int64_t maps, int32_t* bins) {
  const int64_t count = block_count(s, r), blocks = s.start[s.rounds], total = maps * count * kEntropyBins;
  int64_t factor[3];
  for (int a = 0; a < 3; ++a) factor[a] = s.grid[r + 1][a] / s.grid[r][a];
  for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < total; i += (int64_t)gridDim.x * blockDim.x) {
    const int64_t bin = i % kEntropyBins, block = i / kEntropyBins % count, first = i / kEntropyBins / count * blocks;
    const Index3 p = unravel(s.grid[r], block);
    int32_t sum = 0;
    for (int64_t k = 0; k < factor[0] * factor[1] * factor[2]; ++k) {
      Index3 c = unravel(factor, k);
      for (int a = 0; a < 3; ++a) c.at[a] += p.at[a] * factor[a];
      sum += bins[(first + s.start[r + 1] + ravel(s.grid[r + 1], c)) * kEntropyBins + bin];
    }
    bins[(first + s.start[r] + block) * kEntropyBins + bin] = sum;
  }
}

template <class T>
__global__ void __launch_bounds__(256) entropy_scores_kernel(const int32_t* bins, const Summary<T>* range, QuadtreeShape s,
                                                             T* score) {
  const int64_t blocks = s.start[s.rounds];
  score_blocks(s, score, [&](int64_t map, int64_t block, int64_t n) {
    const T factor = bin_factor(range[map].b, range[map].a);
    return factor == factor ? histogram_entropy<T>(bins + (map * blocks + block) * kEntropyBins, n) : factor;
  });
}

}  // namespace medseg
