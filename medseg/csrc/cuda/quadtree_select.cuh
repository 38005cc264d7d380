// Selection of blocks by score, and the lists of active tiles. There is no host synchronisation: lists are padded, counts stay on
// the device. Results do not depend on the order of threads.
#pragma once
#include "../common/quadtree_shape.h"
#include "block_reduce.cuh"
#include "score_bits.cuh"

namespace medseg {

struct SelectLimits {
  int64_t keep[kMaxRounds];
  double limit[kMaxRounds];
  bool limited;
};

// kept [batch, blocks] of all rounds, zero before; keys [batch, blocks]: bits of the scores, 0 for no candidate. One block of
// threads per sample; every round finds the key of the last block kept bit by bit, and among equal ones keeps the lowest
// indices.
template <class T>
__global__ void __launch_bounds__(256) select_blocks_kernel(const T* score, QuadtreeShape s, SelectLimits choice,
                                                            score_bits_t<T>* keys, uint8_t* kept) {
  using Key = score_bits_t<T>;
  __shared__ int32_t shared[256];
  const int tid = threadIdx.x;
  const int64_t blocks = s.start[s.rounds];
  for (int64_t b = blockIdx.x; b < s.batch; b += gridDim.x) {
    for (int64_t r = 0; r < s.rounds; ++r) {
      const int64_t count = block_count(s, r), first = b * blocks + s.start[r], chunk = (count + 255) / 256;
      int32_t candidates = 0;
      for (int64_t i = tid; i < count; i += 256) {
        const Index3 at = unravel(s.grid[r], i);
        const T value = score[first + i];
        bool in = block_inside(s, r, at) && !(choice.limited && value <= (T)choice.limit[r]);
        if (in && r > 0) in = kept[b * blocks + s.start[r - 1] + parent_block(s, r, at, r - 1)] != 0;
        keys[first + i] = in ? ordered_bits(value) : (Key)0;
        candidates += in;
      }
      candidates = block_sum(candidates, shared);
      Key pivot = 1;
      int64_t above = 0;  // keys larger than the pivot
      if (candidates > choice.keep[r]) {
        pivot = choice.keep[r] > 0 ? (Key)0 : ~(Key)0;
        for (int bit = choice.keep[r] > 0 ? 8 * (int)sizeof(Key) - 1 : -1; bit >= 0; --bit) {
          const Key trial = pivot | (Key)1 << bit;
          int32_t n = 0;
          for (int64_t i = tid; i < count; i += 256) n += keys[first + i] >= trial;
          n = block_sum(n, shared);
          if (n >= choice.keep[r]) pivot = trial;
          else above = n;
        }
      }
      int32_t ties = 0;
      const int64_t begin = tid * chunk, end = begin + chunk < count ? begin + chunk : count;
      for (int64_t i = begin; i < end; ++i) ties += keys[first + i] == pivot;
      int64_t place = above + sum_before(ties, shared);
      for (int64_t i = begin; i < end; ++i) {
        const Key key = keys[first + i];
        const bool tie = key == pivot;
        if (candidates <= choice.keep[r]) kept[first + i] = key != 0;
        else kept[first + i] = key > pivot || (tie && place < choice.keep[r]);
        place += tie;
      }
      __syncthreads();
    }
  }
}

// mask [rounds, batch, tiles] and the number of active tiles of each [rounds, batch]; one block of threads for each.
static __global__ void __launch_bounds__(256) mark_tiles_kernel(const uint8_t* kept, QuadtreeShape s, bool* mask,
                                                                int32_t* counts) {
  __shared__ int32_t shared[256];
  const int64_t tiles = tile_count(s), last = s.rounds - 1, blocks = s.start[s.rounds];
  for (int64_t i = blockIdx.x; i < s.rounds * s.batch; i += gridDim.x) {
    const int64_t r = i / s.batch, b = i % s.batch;
    int32_t count = 0;
    for (int64_t t = threadIdx.x; t < tiles; t += 256) {
      const Index3 at = unravel(s.grid[last], t);
      const bool active = block_inside(s, last, at) && kept[b * blocks + s.start[r] + parent_block(s, last, at, r)] != 0;
      mask[i * tiles + t] = active;
      count += active;
    }
    count = block_sum(count, shared);
    if (threadIdx.x == 0) counts[i] = count;
  }
}

// index [rounds, width]: the tiles of sample b follow those of the samples before it; then -1. total [rounds].
static __global__ void __launch_bounds__(256) list_tiles_kernel(const bool* mask, const int32_t* counts, QuadtreeShape s,
                                                                int64_t width, int32_t* index, int32_t* total) {
  __shared__ int32_t shared[256];
  const int64_t tiles = tile_count(s), chunk = (tiles + 255) / 256;
  for (int64_t i = blockIdx.x; i < s.rounds * s.batch; i += gridDim.x) {
    const int64_t r = i / s.batch, b = i % s.batch, begin = threadIdx.x * chunk;
    const int64_t end = begin + chunk < tiles ? begin + chunk : tiles;
    int32_t before = 0, own = 0;
    for (int64_t k = threadIdx.x; k < b; k += 256) before += counts[r * s.batch + k];
    before = block_sum(before, shared);
    for (int64_t t = begin; t < end; ++t) own += mask[i * tiles + t];
    int32_t* out = index + r * width + before + sum_before(own, shared);
    for (int64_t t = begin; t < end; ++t)
      if (mask[i * tiles + t]) *out++ = (int32_t)(b * tiles + t);
    if (b + 1 < s.batch) continue;
    const int64_t all = before + counts[i];
    for (int64_t k = all + threadIdx.x; k < width; k += 256) index[r * width + k] = -1;
    if (threadIdx.x == 0) total[r] = (int32_t)all;
  }
}

}  // namespace medseg
