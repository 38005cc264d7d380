// What the forward and the backward pass of medseg::block_conv share on the CPU.
#pragma once
#include <torch/headeronly/util/BFloat16.h>
#include <torch/headeronly/util/Half.h>

#include <string>
#include <vector>

#include "../common/block_inputs.h"
#include "kernel_tables.h"
#include "map_window.h"
#include "op_helpers.h"
#include "window_conv.h"

namespace medseg::cpu {

// Entries of the list that name a tile (not -1), with their positions in the list. Throws for a number that is out of range or
// named twice.
struct TileList {
  std::vector<int64_t> position, number;
};
TileList tile_list(const char* op, const Tensor& index, const BlockGrid& grid);

// Values of any floating dtype as contiguous T.
template <class T>
std::vector<T> values_as(const Tensor& t_in) {
  const Tensor t = torch::stable::contiguous(t_in);
  std::vector<T> values(t.numel());
  switch (t.scalar_type()) {
    case ScalarType::Double: copy_values(t.const_data_ptr<double>(), t.numel(), values.data()); break;
    case ScalarType::Float: copy_values(t.const_data_ptr<float>(), t.numel(), values.data()); break;
    case ScalarType::Half:
      copy_values(static_cast<const torch::headeronly::Half*>(t.data_ptr()), t.numel(), values.data());
      break;
    default: copy_values(static_cast<const torch::headeronly::BFloat16*>(t.data_ptr()), t.numel(), values.data());
  }
  return values;
}

// The tile with its halo, or the tile alone, as a window of the map.
inline Window tile_window(const BlockProblem& p, int64_t number, bool with_halo) {
  const TileBox box = tile_box(p.grid, number);
  Window w{box.batch, {}, {}};
  for (int axis = 0; axis < 3; ++axis) {
    const int64_t halo = with_halo ? p.halo[axis] : 0;
    w.start[axis] = box.start[axis] - halo;
    w.extent[axis] = p.grid.tile[axis] + 2 * halo;
  }
  return w;
}

inline bool outside(const TileBox& box) { return box.extent[0] == 0 || box.extent[1] == 0 || box.extent[2] == 0; }

// The input of one tile: read in place if its pixels lie in memory as the kernels need them, otherwise copied with its halo.
template <class S, class T>
Pixels<const T> tile_input(const ConvTable<T>& table, const BlockProblem& p, const MapView<const S>& x, int64_t number,
                           bool zero_halo, std::vector<T>& scratch, std::vector<T>& spare) {
  const Window full = tile_window(p, number, true);
  if constexpr (std::is_same_v<S, T>) {
    bool inside = x.channel_stride == 1 && x.stride[2] == p.in && (!zero_halo || p.taps() == 1);
    for (int axis = 0; axis < 3; ++axis)
      inside = inside && full.start[axis] >= 0 && full.start[axis] + full.extent[axis] <= x.size[axis];
    if (inside) return {window_row(x, full, 0, 0, 0), x.stride[0], x.stride[1], p.in};
  }
  scratch.resize(full.pixels() * p.in);
  const Pixels<T> pixels = dense_pixels(scratch.data(), full.extent, p.in);
  if (!zero_halo) {
    load_window<S, T>(table, x, full, pixels.data, p.in, spare);
  } else {  // the tile alone is read, into the middle of zeros
    std::fill(scratch.begin(), scratch.end(), (T)0);
    const TileBox box = tile_box(p.grid, number);
    for (int64_t z = 0; z < box.extent[0]; ++z)
      for (int64_t y = 0; y < box.extent[1]; ++y)
        load_row<S, T>(table, x, window_row(x, full, z + p.halo[0], y + p.halo[1], p.halo[2]), box.extent[2],
                       pixels.data + (z + p.halo[0]) * pixels.plane + (y + p.halo[1]) * pixels.row + p.halo[2] * p.in, p.in,
                       spare);
  }
  return {pixels.data, pixels.plane, pixels.row, p.in};
}

}  // namespace medseg::cpu
