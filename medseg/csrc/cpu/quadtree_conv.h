// What the forward and the backward pass of quadtree_conv share: a worker's scratch and the parameters of a round.
#pragma once
#include "kernel_tables.h"
#include "op_helpers.h"
#include "quadtree_pointwise.h"

namespace medseg::cpu {

// Parameters in the type of the arithmetic.
template <class T>
struct QuadtreeParameters {
  std::vector<T> weight, bias, scale, shift;

  QuadtreeParameters(const QuadtreeInputs& in)
      : weight(parameter_values<T>(in.weight)), bias(parameter_values<T>(in.bias)), scale(parameter_values<T>(in.scale)),
        shift(parameter_values<T>(in.shift)) {}

  static const T* of_round(const std::vector<T>& p, int64_t round, int64_t size) {
    return p.empty() ? nullptr : p.data() + round * size;
  }
};

// Bias of a round, padded to the columns of the kernels; empty if there is none.
template <class T>
std::vector<T> padded_bias(const std::vector<T>& bias, int64_t round, int64_t channels, int64_t width) {
  if (bias.empty()) return {};
  std::vector<T> row(width);
  for (int64_t c = 0; c < channels; ++c) row[c] = bias[round * channels + c];
  return row;
}

// Memory of one worker; tile values have padded channels.
template <class T>
struct TileScratch {
  std::vector<T> patch, spare, values, other;

  TileScratch(const QuadtreeProblem& p, int64_t patch_size, int64_t width)
      : patch(patch_size), values(p.row_volume() * width), other(p.row_volume() * width) {}
};

// The values of a tile, `line` a pixel.
template <class T>
Pixels<T> tile_pixels(const QuadtreeProblem& p, T* data, int64_t line) {
  return dense_pixels(data, p.grid.tile, line);
}

template <class T>
T* pixel_line(const Pixels<T>& t, int64_t z, int64_t y) {
  return t.data + z * t.plane + y * t.row;
}

template <class T>
Pixels<const T> read_only(const Pixels<T>& t) {
  return {t.data, t.plane, t.row, t.line};
}

// Calls f(values, pixels, first) for the lines of the box, where values points to the first of `pixels` pixels of a line,
// number `first` of the tile.
template <class T, class F>
inline void for_lines(const Pixels<T>& t, const TileBox& box, const F& f) {
  for (int64_t z = 0; z < box.extent[0]; ++z)
    for (int64_t y = 0; y < box.extent[1]; ++y) f(pixel_line(t, z, y), box.extent[2], (z * t.plane + y * t.row) / t.line);
}

// Calls f(values, p) for every pixel of the box, p its number in the tile.
template <class T, class F>
inline void for_pixels(const Pixels<T>& t, const TileBox& box, const F& f) {
  for_lines(t, box, [&](T* v, int64_t pixels, int64_t first) {
    for (int64_t i = 0; i < pixels; ++i) f(v + i * t.line, first + i);
  });
}

// The map after the rounds whose rows `row` names.
template <class E>
Overlay<E> overlay_of(const QuadtreeProblem& p, const MapView<const E>& x, const E* store, const int32_t* row) {
  return {p.grid, {p.kernel[0], p.kernel[1], p.kernel[2]}, {p.halo[0], p.halo[1], p.halo[2]}, x, store, row};
}

inline int64_t pixels_in(const TileBox& box) { return box.extent[0] * box.extent[1] * box.extent[2]; }

inline bool is_whole(const TileBox& box, const BlockGrid& g) {
  return box.extent[0] == g.tile[0] && box.extent[1] == g.tile[1] && box.extent[2] == g.tile[2];
}

}  // namespace medseg::cpu
