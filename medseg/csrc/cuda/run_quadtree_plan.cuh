// Sequence of kernels behind quadtree_plan and quadtree_select.
#pragma once
#include "quadtree_entropy.cuh"
#include "quadtree_select.cuh"

namespace medseg {

template <class T, class Workspace, class Stream>
void run_entropy_scores(Workspace& memory, Stream stream, const QuadtreeShape& shape, const T* x, VoxelStrides strides, T* score) {
  const QuadtreeShape s = without_cells(shape);
  const int64_t maps = s.batch * s.channels, tiles = tile_count(s);
  Summary<T>* range = memory.template get<Summary<T>>(maps);
  int32_t* bins = memory.template get<int32_t>(maps * s.start[s.rounds] * kEntropyBins);
  MS_LAUNCH((map_range_kernel<T>), dim3(clamp_grid(maps)), dim3(256), stream, x, strides, s, maps, range);
  MS_LAUNCH((tile_histogram_kernel<T>), dim3(clamp_grid(maps * tiles)), dim3(256), stream, x, strides, s, range, maps, bins);
  for (int64_t r = s.rounds - 2; r >= 0; --r)
    MS_LAUNCH((add_histograms_kernel), dim3(blocks_for(maps * block_count(s, r) * kEntropyBins)), dim3(kThreads), stream, s, r,
              maps, bins);
  MS_LAUNCH((entropy_scores_kernel<T>), dim3(blocks_for(s.batch * s.start[s.rounds])), dim3(kThreads), stream, bins, range, s,
            score);
}

template <class T, class Workspace, class Stream>
void run_block_scores(Workspace& memory, Stream stream, const QuadtreeShape& shape, Metric metric, const T* x,
                      VoxelStrides strides, Spacing spacing, T* score) {
  if (shape.batch == 0) return;
  if (metric == Metric::kEntropy) return run_entropy_scores<T>(memory, stream, shape, x, strides, score);
  const bool cells = metric == Metric::kGradientMax;
  const QuadtreeShape s = cells ? shape : without_cells(shape);
  const int64_t maps = s.batch * s.channels, blocks = s.start[s.rounds], last = s.rounds - 1;
  const int64_t per_map = tile_count(s) * s.cells[0] * s.cells[1] * s.cells[2], count = maps * per_map;
  Summary<T>* levels = memory.template get<Summary<T>>(maps * blocks);
  Summary<T>* found = cells ? memory.template get<Summary<T>>(count) : levels;
  const int64_t step = cells ? per_map : blocks, offset = cells ? 0 : s.start[last];
  int lanes = 1;
  while (lanes < 32 && lanes < s.cell[0] * s.cell[1] * s.cell[2]) lanes *= 2;
  MS_LAUNCH((summarise_cells_kernel<T>), dim3(blocks_for(count * lanes)), dim3(256), stream, x, strides, s, metric, spacing,
            lanes, per_map, count, step, offset, found);
  if (cells)
    MS_LAUNCH((merge_cells_kernel<T>), dim3(blocks_for(maps * tile_count(s))), dim3(kThreads), stream, found, s, maps, levels);
  for (int64_t r = last - 1; r >= 0; --r)
    MS_LAUNCH((merge_children_kernel<T>), dim3(blocks_for(maps * block_count(s, r))), dim3(kThreads), stream, s, metric, r, maps,
              levels);
  MS_LAUNCH((block_scores_kernel<T>), dim3(blocks_for(s.batch * blocks)), dim3(kThreads), stream, levels, s, metric, score);
}

template <class T, class Workspace, class Stream>
void run_quadtree_select(Workspace& memory, Stream stream, const QuadtreeShape& s, const SelectLimits& choice, int64_t width,
                         const T* score, int32_t* index, int32_t* total, bool* mask) {
  using Key = score_bits_t<T>;
  if (s.batch == 0) return memory.fill(total, 0, s.rounds * (int64_t)sizeof(int32_t));
  const int64_t blocks = s.start[s.rounds];
  Key* keys = memory.template get<Key>(s.batch * blocks);
  uint8_t* kept = memory.template get<uint8_t>(s.batch * blocks);
  int32_t* counts = memory.template get<int32_t>(s.rounds * s.batch);
  const dim3 each(clamp_grid(s.rounds * s.batch));
  MS_LAUNCH((select_blocks_kernel<T>), dim3(clamp_grid(s.batch)), dim3(256), stream, score, s, choice, keys, kept);
  MS_LAUNCH((mark_tiles_kernel), each, dim3(256), stream, kept, s, mask, counts);
  MS_LAUNCH((list_tiles_kernel), each, dim3(256), stream, mask, counts, s, width, index, total);
}

}  // namespace medseg
