// What a round of quadtree_conv does besides its convolution, on rows [row, position, channel] of its active tiles: norm,
// activation, residual, and their gradients; and the tables of the row that holds each tile.
#pragma once
#include "block_reduce.cuh"
#include "tile_conv.cuh"
#include "tile_sums.cuh"

namespace medseg {

// The tiles of one round.
struct RoundTiles {
  BlockGrid grid;
  const int32_t* index;
  int64_t rows, channels;
};

// What follows the convolution of a round. scale and shift [channels] or null; stats [groups][mean, rstd][channels], null
// without a norm; a group is the batch, or one sample of it.
template <class T>
struct RoundRule {
  bool add;  // to what the tile held before
  int32_t activation;
  computed_t<T> slope;
  const computed_t<T>*scale, *shift, *stats;
  int64_t groups;
};

template <class T>
__device__ computed_t<T> normal_value(const RoundRule<T>& rule, int64_t batch, int64_t channels, int64_t c, computed_t<T> u) {
  const computed_t<T>* s = rule.stats + (rule.groups > 1 ? batch : 0) * 2 * channels;
  return (u - s[c]) * s[channels + c];
}

// What enters the activation.
template <class T>
__device__ computed_t<T> normed(const RoundRule<T>& rule, int64_t batch, int64_t channels, int64_t c, computed_t<T> u) {
  if (rule.stats == nullptr) return u;
  computed_t<T> v = normal_value(rule, batch, channels, c, u);
  if (rule.scale != nullptr) v *= rule.scale[c];
  return rule.shift != nullptr ? v + rule.shift[c] : v;
}

// Position i of a tile, and whether it lies in the map.
MS_HD bool tile_position(const BlockGrid& g, const Piece& piece, int32_t i, int32_t at[3]) {
  const int32_t y = (int32_t)g.tile[1], x = (int32_t)g.tile[2];
  at[0] = i / (x * y);
  at[1] = i / x % y;
  at[2] = i % x;
  bool inside = piece.live;
  for (int axis = 0; axis < 3; ++axis) inside = inside && piece.start[axis] + at[axis] < g.size[axis];
  return inside;
}

template <class T>
__device__ T* map_place(const TileView<T>& map, const Piece& piece, const int32_t at[3]) {
  return map.data + piece.batch * map.stride[0] + (piece.start[0] + at[0]) * map.stride[2] +
         (piece.start[1] + at[1]) * map.stride[3] + (piece.start[2] + at[2]) * map.stride[4];
}

// out = rows of the round from the convolution `raw` (which may be out); one block a row. signs [row][bytes] or null: a bit is
// set for every entry whose value before the activation is above 0.
template <class T>
__global__ void __launch_bounds__(256) finish_rows_kernel(RoundTiles r, RoundRule<T> rule, TileSource<T> before, const T* raw,
                                                          T* out, uint8_t* signs) {
  const Piece piece = piece_at(whole_tiles(r.grid), r.grid, r.index, r.rows, blockIdx.x);
  const int32_t channels = (int32_t)r.channels, entries = (int32_t)tile_volume(r.grid) * channels, bytes = (entries + 7) / 8;
  for (int32_t j = threadIdx.x; j < bytes; j += blockDim.x) {
    unsigned passed = 0;
    for (int32_t e = 8 * j; e < entries && e < 8 * j + 8; ++e) {
      const int64_t place = (int64_t)blockIdx.x * entries + e;
      const int32_t c = e % channels;
      int32_t at[3];
      computed_t<T> y = 0;
      if (tile_position(r.grid, piece, e / channels, at)) {
        const computed_t<T> v = normed(rule, piece.batch, channels, c, widened(raw[place]));
        passed |= (v > 0 ? 1u : 0u) << (e - 8 * j);
        y = activated(v, rule.activation, rule.slope);
        if (rule.add) y += widened(value_at(before, place_of(before, r.grid, channels, piece, at), c));
      }
      out[place] = narrowed<T>(y);
    }
    if (signs != nullptr) signs[(int64_t)blockIdx.x * bytes + j] = (uint8_t)passed;
  }
}

// g = gradient of the convolution's result, or of the norm's where there is one, from the map of gradients at the round's
// output; `clear` sets it to 0 in the map. The sign of what entered the activation comes from raw (a norm's input), signs or,
// where both are null, from values (the round's own rows). One block a row.
template <class T>
__global__ void __launch_bounds__(256) gather_rows_kernel(RoundTiles r, RoundRule<T> rule, TileView<computed_t<T>> map, const T* raw,
                                                          const uint8_t* signs, const T* values, bool clear, T* g) {
  const Piece piece = piece_at(whole_tiles(r.grid), r.grid, r.index, r.rows, blockIdx.x);
  const int32_t channels = (int32_t)r.channels, positions = (int32_t)tile_volume(r.grid), entries = positions * channels;
  for (int32_t i = threadIdx.x; i < entries; i += blockDim.x) {
    const bool first = map.stride[1] != 1;
    const int32_t c = first ? i / positions : i % channels, p = first ? i % positions : i / channels, e = p * channels + c;
    const int64_t place = (int64_t)blockIdx.x * entries + e;
    int32_t at[3];
    computed_t<T> d = 0;
    if (tile_position(r.grid, piece, p, at)) {
      computed_t<T>* from = map_place(map, piece, at) + c * map.stride[1];
      d = *from;
      if (clear) *from = 0;
      bool pass = true;
      if (rule.activation != kNoActivation && raw != nullptr) pass = normed(rule, piece.batch, channels, c, widened(raw[place])) > 0;
      else if (rule.activation != kNoActivation && signs != nullptr)
        pass = signs[(int64_t)blockIdx.x * ((entries + 7) / 8) + e / 8] >> (e % 8) & 1;
      else if (rule.activation != kNoActivation) pass = widened(values[place]) > 0;
      if (!pass) d = rule.activation == kRelu ? (computed_t<T>)0 : d * rule.slope;
    }
    g[place] = narrowed<T>(d);
  }
}

// dgate[tile] = <map of gradients, rows - what the tile held before>. One block a row.
template <class T>
__global__ void __launch_bounds__(256) gate_gradient_kernel(RoundTiles r, TileView<computed_t<T>> map, TileSource<T> before,
                                                            const T* rows, computed_t<T>* dgate) {
  __shared__ computed_t<T> part[256];
  const Piece piece = piece_at(whole_tiles(r.grid), r.grid, r.index, r.rows, blockIdx.x);
  const int32_t channels = (int32_t)r.channels, entries = (int32_t)tile_volume(r.grid) * channels;
  if (!piece.listed) return;
  computed_t<T> sum = 0;
  for (int32_t e = threadIdx.x; e < entries; e += blockDim.x) {
    const int32_t c = e % channels;
    int32_t at[3];
    if (!tile_position(r.grid, piece, e / channels, at)) continue;
    const computed_t<T> held = widened(value_at(before, place_of(before, r.grid, channels, piece, at), c));
    sum += map_place(map, piece, at)[c * map.stride[1]] * (widened(rows[(int64_t)blockIdx.x * entries + e]) - held);
  }
  sum = block_sum(sum, part);
  if (threadIdx.x == 0) dgate[r.index[blockIdx.x]] = sum;
}

// The map after all rounds, from the base and the newest rows. One block a tile.
template <class T>
__global__ void __launch_bounds__(256) compose_map_kernel(BlockGrid g, TileSource<T> from, int64_t channels_in, TileView<T> out) {
  const TileBox box = tile_box(g, blockIdx.x);
  Piece piece{};
  piece.batch = (int32_t)box.batch;
  piece.live = true;
  int32_t side[3];
  for (int axis = 0; axis < 3; ++axis) {
    piece.start[axis] = (int32_t)box.start[axis];
    side[axis] = (int32_t)box.extent[axis];
  }
  const int32_t positions = volume(side), channels = (int32_t)channels_in;
  const bool first = out.stride[1] != 1;
  for (int32_t i = threadIdx.x; i < positions * channels; i += blockDim.x) {
    const int32_t c = first ? i / positions : i % channels, p = first ? i % positions : i / channels;
    const int32_t at[3] = {p / (side[2] * side[1]), p / side[2] % side[1], p % side[2]};
    map_place(out, piece, at)[c * out.stride[1]] = value_at(from, place_of(from, g, channels, piece, at), c);
  }
}

// after[tile] = row of the round that holds the tile, moved by `offset`, or what held it before.
static __global__ void __launch_bounds__(256) latest_rows_kernel(const int32_t* row_of, const int32_t* before, int64_t tiles,
                                                                 int32_t offset, int32_t* after) {
  for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < tiles; i += (int64_t)gridDim.x * blockDim.x)
    after[i] = row_of[i] >= 0 ? row_of[i] + offset : before[i];
}

}  // namespace medseg
