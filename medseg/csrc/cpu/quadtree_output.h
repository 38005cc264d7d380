// The last pass of quadtree_conv: every tile's latest values into the output.
#pragma once
#include <torch/csrc/stable/ops.h>

#include "quadtree_overlay.h"

namespace medseg::cpu {

// Line (z, y) of the map, pixels [x0, x1): from the input as it is.
template <class E, class T>
void copy_line(const MapView<const E>& from, const ConvTable<T>& table, const MapView<E>& to, int64_t b, int64_t z,
               int64_t y, int64_t x0, int64_t x1, std::vector<T>& pixels, std::vector<T>& spare) {
  const int64_t n = x1 - x0, c = to.channels;
  const Window w{b, {z, y, x0}, {1, 1, n}};
  const E* source = window_row(from, w, 0, 0, 0);
  E* target = window_row(to, w, 0, 0, 0);
  const auto dense = [c](const auto& m) { return m.channel_stride == 1 && m.stride[2] == c; };
  if (dense(from) && dense(to)) return copy_values(source, n * c, target);
  if (from.stride[2] == 1 && to.stride[2] == 1) {
    for (int64_t i = 0; i < c; ++i) copy_values(source + i * from.channel_stride, n, target + i * to.channel_stride);
    return;
  }
  if ((int64_t)pixels.size() < n * c) pixels.resize(n * c);
  load_row<E, T>(table, from, source, n, pixels.data(), c, spare);
  store_row<E, T>(table, to, target, n, pixels.data(), c, spare);
}

// One row of tiles along x: runs of tiles that were never active are copied, the others come from the store.
template <class E, class T>
void write_band(const Overlay<E>& last, const ConvTable<T>& table, const MapView<E>& out, int64_t band) {
  const BlockGrid& g = last.grid;
  const int64_t c = out.channels, side = g.tile[2], first = band * g.grid[2];
  std::vector<T> pixels(side * c), spare;
  const TileBox box = tile_box(g, first);
  for (int64_t z = 0; z < box.extent[0]; ++z)
    for (int64_t y = 0; y < box.extent[1]; ++y)
      for (int64_t t = 0; t < g.grid[2]; ++t) {
        const int64_t begin = t, x0 = t * side;
        const int32_t row = last.row_of(first + t);
        if (row < 0)
          while (t + 1 < g.grid[2] && last.row_of(first + t + 1) < 0) ++t;
        const int64_t end = (t + 1) * side < g.size[2] ? (t + 1) * side : g.size[2];
        const int64_t zz = box.start[0] + z, yy = box.start[1] + y;
        if (row < 0) {
          copy_line(last.base, table, out, box.batch, zz, yy, x0, end, pixels, spare);
          continue;
        }
        const TileBox at = tile_box(g, first + begin);
        const E* from = last.store + row * last.row_size() + (z * g.tile[1] + y) * side * c;
        const T* values = pixels.data();
        if constexpr (std::is_same_v<E, T>) values = from;
        else copy_values(from, at.extent[2] * c, pixels.data());
        store_row<E, T>(table, out, window_row(out, Window{box.batch, {zz, yy, x0}, {}}, 0, 0, 0), at.extent[2], values, c, spare);
      }
}

template <class E, class T>
void write_output(const Overlay<E>& last, const ConvTable<T>& table, const MapView<E>& out) {
  const BlockGrid& g = last.grid;
  torch::stable::parallel_for(0, g.batch * g.grid[0] * g.grid[1], 1, [&](int64_t begin, int64_t end) {
    for (int64_t band = begin; band < end; ++band) write_band(last, table, out, band);
  });
}

}  // namespace medseg::cpu
