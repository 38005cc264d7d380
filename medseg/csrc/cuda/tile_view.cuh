// What kernels read and write tile by tile: a map, rows of packed tiles, or a map in which newer rows replace some tiles.
#pragma once
#include "tile_pieces.cuh"

#ifdef MEDSEG_CUDA_EMULATION
#include "emulated_fragments.h"
#else
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <mma.h>
#endif

namespace medseg {

// 16-bit floats are computed in float32.
template <class T>
struct Computed {
  using type = float;
};
template <>
struct Computed<double> {
  using type = double;
};
template <class T>
using computed_t = typename Computed<T>::type;

MS_HD float widened(float v) { return v; }
MS_HD double widened(double v) { return v; }
MS_HD float widened(__nv_bfloat16 v) { return __bfloat162float(v); }
MS_HD float widened(__half v) { return __half2float(v); }

template <class T>
MS_HD T narrowed(computed_t<T> v) {
  return (T)v;
}
template <>
MS_HD __nv_bfloat16 narrowed<__nv_bfloat16>(float v) {
  return __float2bfloat16(v);
}
template <>
MS_HD __half narrowed<__half>(float v) {
  return __float2half(v);
}

// A map [batch, channel, z, y, x], or packed tiles [row, channel, z, y, x] whose positions count from the tile's corner.
template <class T>
struct TileView {
  T* data;
  int64_t stride[5];
  bool packed;
};

// Rows [row, position, channel] of a store.
template <class T>
TileView<T> row_view(T* data, const int64_t side[3], int64_t channels) {
  const int64_t x = channels, y = x * side[2], z = y * side[1];
  return {data, {z * side[0], 1, z, y, x}, true};
}

// own_tile: positions outside of the tile are 0. store and latest may be null: then the view alone is read. Otherwise
// latest[tile] is the row of the store that holds the tile, -1 if the view does; rows of the store are [position, channel].
template <class T>
struct TileSource {
  TileView<const T> view;
  bool own_tile;
  const T* store;
  const int32_t* latest;
};

// Where the channels of one position begin: an offset into the view, -1 for a zero, or -2 - an offset into the store.
constexpr int64_t kZero = -1;

template <class T>
__device__ int64_t place_of(const TileSource<T>& s, const BlockGrid& g, int64_t channels, const Piece& piece,
                            const int32_t at[3]) {
  int64_t map[3];
  for (int axis = 0; axis < 3; ++axis) {
    map[axis] = piece.start[axis] + at[axis];
    if (map[axis] < 0 || map[axis] >= g.size[axis]) return kZero;
    if (s.own_tile && (at[axis] < 0 || at[axis] >= g.tile[axis])) return kZero;
  }
  const int64_t* stride = s.view.stride;
  if (s.view.packed) return piece.row * stride[0] + at[0] * stride[2] + at[1] * stride[3] + at[2] * stride[4];
  if (s.latest != nullptr) {
    int64_t number = piece.batch, inner = 0;
    for (int axis = 0; axis < 3; ++axis) {
      const int64_t tile = map[axis] / g.tile[axis];
      number = number * g.grid[axis] + tile;
      inner = inner * g.tile[axis] + map[axis] - tile * g.tile[axis];
    }
    const int32_t row = s.latest[number];
    if (row >= 0) return -2 - (row * tile_volume(g) + inner) * channels;
  }
  return piece.batch * stride[0] + map[0] * stride[2] + map[1] * stride[3] + map[2] * stride[4];
}

template <class T>
__device__ T value_at(const TileSource<T>& s, int64_t place, int64_t channel) {
  if (place == kZero) return narrowed<T>(0);
  return place < 0 ? s.store[-2 - place + channel] : s.view.data[place + channel * s.view.stride[1]];
}

// Fills place[group * halo] for the haloes of a group of pieces. All threads; the caller synchronises.
template <class T>
__device__ void find_places(const TileSource<T>& s, const BlockGrid& g, const Pieces& p, int64_t channels,
                            const Piece* pieces, int64_t* place) {
  const int32_t halo = halo_volume(p), hy = halo_side(p, 1), hx = halo_side(p, 2);
  for (int32_t q = threadIdx.x; q < p.group * halo; q += blockDim.x) {
    const Piece& piece = pieces[q / halo];
    const int32_t inner = q % halo;
    const int32_t at[3] = {piece.origin[0] + inner / (hx * hy) - p.shift[0], piece.origin[1] + inner / hx % hy - p.shift[1],
                           piece.origin[2] + inner % hx - p.shift[2]};
    place[q] = piece.live ? place_of(s, g, channels, piece, at) : kZero;
  }
}

// Where an output goes: an offset of its first channel into the view, or kZero for nowhere; `inside` says whether the position
// lies in the map, packed rows hold zeros elsewhere.
struct Target {
  int64_t offset;
  bool inside;
};

template <class T>
__device__ Target target_of(const TileView<T>& to, const BlockGrid& g, const Pieces& p, const Piece& piece, const int32_t at[3]) {
  Target t{0, piece.live};
  if (to.packed) t.offset = piece.row * to.stride[0];
  else t.offset = piece.batch * to.stride[0];
  for (int axis = 0; axis < 3; ++axis) {
    const int32_t o = piece.origin[axis] + at[axis];
    if (o >= p.box[axis]) return {kZero, false};
    const int64_t map = (int64_t)piece.start[axis] + o - p.margin[axis];
    t.inside = t.inside && map >= 0 && map < g.size[axis];
    t.offset += (to.packed ? o : map) * to.stride[2 + axis];
  }
  if (!to.packed && !t.inside) return {kZero, false};
  return t;
}

}  // namespace medseg
