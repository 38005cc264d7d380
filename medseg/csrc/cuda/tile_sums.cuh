// Sums that belong to a convolution of tiles: results with haloes added to the map, and sums over the positions of each channel.
#pragma once
#include "sum_splits.cuh"
#include "tile_view.cuh"

namespace medseg {

// Rows [row, haloed position, channel] of the tiles with row_of[tile] >= 0, as haloed rows of the gradient of the input.
template <class S>
struct HaloedRows {
  const S* data;
  const int32_t* row_of;
  int32_t halo[3];
};

// Tiles whose haloed boxes meet map positions [at, end) along every axis: first .. last.
struct TileSpan {
  int32_t first[3], last[3];
};

template <class S>
__device__ TileSpan haloed_tiles(const HaloedRows<S>& rows, const BlockGrid& g, const int32_t at[3], const int32_t end[3]) {
  TileSpan span;
  for (int axis = 0; axis < 3; ++axis) {
    const int32_t halo = rows.halo[axis], tile = (int32_t)g.tile[axis], final = (int32_t)g.grid[axis] - 1;
    const int32_t last = (end[axis] - 1 + halo) / tile;
    span.first[axis] = at[axis] < halo ? 0 : (at[axis] - halo) / tile;
    span.last[axis] = last < final ? last : final;
  }
  return span;
}

// visit(row, z, y, x) for every tile of a span that has a row, in raster order.
template <class S, class Visit>
__device__ void for_each_row(const HaloedRows<S>& rows, const BlockGrid& g, int64_t batch, const TileSpan& span, const Visit& visit) {
  for (int32_t z = span.first[0]; z <= span.last[0]; ++z)
    for (int32_t y = span.first[1]; y <= span.last[1]; ++y)
      for (int32_t x = span.first[2]; x <= span.last[2]; ++x) {
        const int32_t row = rows.row_of[((batch * g.grid[0] + z) * g.grid[1] + y) * g.grid[2] + x];
        if (row >= 0) visit(row, z, y, x);
      }
}

// Sum at one position over the tiles whose haloed box holds it, in raster order.
template <class S>
__device__ S haloed_sum(const HaloedRows<S>& rows, const BlockGrid& g, int64_t batch, const int32_t at[3], int64_t channels,
                        int64_t channel) {
  const int32_t end[3] = {at[0] + 1, at[1] + 1, at[2] + 1};
  S sum = 0;
  for_each_row(rows, g, batch, haloed_tiles(rows, g, at, end), [&](int32_t row, int32_t z, int32_t y, int32_t x) {
    const int32_t tile[3] = {z, y, x};
    int64_t position = row;
    for (int axis = 0; axis < 3; ++axis) {
      const int32_t side = (int32_t)g.tile[axis];
      position = position * (side + 2 * rows.halo[axis]) + at[axis] - tile[axis] * side + rows.halo[axis];
    }
    sum += rows.data[position * channels + channel];
  });
  return sum;
}

// map = sum (accumulate: += sum) of the haloed rows. One block a tile; channels_first: positions are adjacent in the map.
template <class T>
__global__ void __launch_bounds__(256) add_haloes_kernel(HaloedRows<computed_t<T>> rows, BlockGrid g, int64_t channels,
                                                         bool accumulate, bool channels_first, TileView<T> map) {
  int32_t start[3], end[3], side[3];
  unsigned batch = blockIdx.x;  // 32-bit arithmetic: a division of 64 bits is a call, and makes the kernel spill
  for (int axis = 2; axis >= 0; --axis) {
    const unsigned tiles = (unsigned)g.grid[axis];
    const int32_t left = (int32_t)g.size[axis] - (start[axis] = (int32_t)(batch % tiles) * (int32_t)g.tile[axis]);
    side[axis] = left < 0 ? 0 : left < (int32_t)g.tile[axis] ? left : (int32_t)g.tile[axis];
    end[axis] = start[axis] + side[axis];
    batch /= tiles;
  }
  if (volume(side) == 0) return;
  bool any = false;
  for_each_row(rows, g, batch, haloed_tiles(rows, g, start, end), [&](int32_t, int32_t, int32_t, int32_t) { any = true; });
  if (!any && accumulate) return;
  const int32_t positions = volume(side), many = (int32_t)channels;
  for (int32_t i = threadIdx.x; i < positions * many; i += blockDim.x) {
    const int32_t c = channels_first ? i / positions : i % many, p = channels_first ? i % positions : i / many;
    const int32_t at[3] = {start[0] + p / (side[2] * side[1]), start[1] + p / side[2] % side[1], start[2] + p % side[2]};
    T* to = map.data + batch * map.stride[0] + c * map.stride[1] + at[0] * map.stride[2] + at[1] * map.stride[3] +
            at[2] * map.stride[4];
    const computed_t<T> sum = any ? haloed_sum(rows, g, batch, at, channels, c) : (computed_t<T>)0;
    *to = narrowed<T>(accumulate ? widened(*to) + sum : sum);
  }
}

// row_of[tile] = row of the list that names it. row_of starts as -1.
static __global__ void __launch_bounds__(256) number_rows_kernel(const int32_t* index, int64_t rows, int64_t tiles, int32_t* row_of) {
  for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < rows; i += (int64_t)gridDim.x * blockDim.x)
    if (index[i] >= 0 && index[i] < tiles) row_of[index[i]] = (int32_t)i;
}

// Sums over the eight rows of 32 threads; the first row receives those of its columns.
template <class A>
__device__ A column_sum(A value, A* part) {
  __syncthreads();
  part[threadIdx.x] = value;
  __syncthreads();
  A sum = 0;
  if (threadIdx.x < 32)
    for (int row = 0; row < 8; ++row) sum += part[row * 32 + threadIdx.x];
  return sum;
}

// A piece that is a whole tile.
MS_HD Pieces whole_tiles(const BlockGrid& g) {
  Pieces p{};
  for (int axis = 0; axis < 3; ++axis) {
    p.box[axis] = p.side[axis] = (int32_t)g.tile[axis];
    p.count[axis] = p.taps[axis] = 1;
  }
  p.group = 1;
  return p;
}

// parts[chunk][channel] = sum of the values of one chunk of `length` listed tiles. Blocks: 32 channels by chunks.
template <class T>
__global__ void __launch_bounds__(256) channel_sums_kernel(TileSource<T> from, BlockGrid g, const int32_t* index, int64_t rows,
                                                           int64_t channels, int64_t length, computed_t<T>* parts) {
  __shared__ computed_t<T> part[256];
  const Pieces whole = whole_tiles(g);
  const int64_t channel = blockIdx.x * 32 + threadIdx.x % 32, first = blockIdx.y * length;
  const int64_t last = first + length < rows ? first + length : rows;
  computed_t<T> sum = 0;
  for (int64_t a = first; a < last; ++a) {
    const Piece piece = piece_at(whole, g, index, rows, a);
    if (!piece.live || channel >= channels) continue;
    for (int32_t i = threadIdx.x / 32; i < volume(whole.side); i += 8) {
      int32_t at[3];
      pixel_position(whole, i, at);
      sum += widened(value_at(from, place_of(from, g, channels, piece, at), channel));
    }
  }
  sum = column_sum(sum, part);
  if (threadIdx.x < 32 && channel < channels) parts[blockIdx.y * channels + channel] = sum;
}

}  // namespace medseg
