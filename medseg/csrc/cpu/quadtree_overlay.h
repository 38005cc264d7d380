// The map that the rounds of quadtree_conv read: the latest row of the store for tiles that were computed already, the input for
// all others.
#pragma once
#include "window_conv.h"

namespace medseg::cpu {

inline Window tile_window(const TileBox& box) {
  return {box.batch, {box.start[0], box.start[1], box.start[2]}, {box.extent[0], box.extent[1], box.extent[2]}};
}

template <class E>
struct Overlay {
  BlockGrid grid;
  int64_t kernel[3], halo[3];
  MapView<const E> base;
  const E* store;      // rows [tile_volume, channels]
  const int32_t* row;  // of every tile: its latest row, or -1 for the base; null: the base everywhere

  int32_t row_of(int64_t tile) const { return row == nullptr ? -1 : row[tile]; }
  int64_t row_size() const { return tile_volume(grid) * base.channels; }

  // One line of a tile: from its row or from the base.
  template <class T>
  void read_tile_line(const ConvTable<T>& table, const TileBox& box, int32_t at, int64_t z, int64_t y, T* out, int64_t line,
                      std::vector<T>& spare) const {
    const int64_t c = base.channels;
    if (at < 0)
      return load_row<E, T>(table, base, window_row(base, tile_window(box), z, y, 0), box.extent[2], out, line, spare);
    const E* from = store + at * row_size() + (z * grid.tile[1] + y) * grid.tile[2] * c;
    if (line == c) return copy_values(from, box.extent[2] * c, out);
    for (int64_t p = 0; p < box.extent[2]; ++p) copy_values(from + p * c, c, out + p * line);
  }

  int64_t patch_size() const {
    int64_t n = base.channels;
    for (int i = 0; i < 3; ++i) n *= grid.tile[i] + 2 * halo[i];
    return n;
  }

  // The tile with its halo, read in place if possible, otherwise collected into `room` (patch_size values).
  template <class T>
  Pixels<const T> patch(const ConvTable<T>& table, const TileBox& box, T* room, std::vector<T>& spare) const {
    if constexpr (std::is_same_v<E, T>)
      if (base.channel_stride == 1 && base.stride[2] == base.channels && base_around(box))
        return {window_row(base, tile_window(box), -halo[0], -halo[1], -halo[2]), base.stride[0], base.stride[1],
                base.channels};
    const int64_t line = (grid.tile[2] + 2 * halo[2]) * base.channels;
    const int64_t plane = (grid.tile[1] + 2 * halo[1]) * line;
    for (int64_t z = 0; z < box.extent[0] + 2 * halo[0]; ++z)
      for (int64_t y = 0; y < box.extent[1] + 2 * halo[1]; ++y)
        collect_line(table, box, box.start[0] + z - halo[0], box.start[1] + y - halo[1],
                     room + z * plane + y * line, spare);
    return {room, plane, line, base.channels};
  }

 private:
  // Whether the tile and its halo lie inside the map and no part of them has been computed yet.
  bool base_around(const TileBox& box) const {
    int64_t first[3], last[3];
    for (int i = 0; i < 3; ++i) {
      first[i] = box.start[i] - halo[i];
      last[i] = box.start[i] + box.extent[i] + halo[i] - 1;
      if (first[i] < 0 || last[i] >= grid.size[i]) return false;
      first[i] /= grid.tile[i];
      last[i] /= grid.tile[i];
    }
    if (row == nullptr) return true;
    for (int64_t z = first[0]; z <= last[0]; ++z)
      for (int64_t y = first[1]; y <= last[1]; ++y)
        for (int64_t x = first[2]; x <= last[2]; ++x)
          if (row[((box.batch * grid.grid[0] + z) * grid.grid[1] + y) * grid.grid[2] + x] >= 0) return false;
    return true;
  }

  // Line (z, y) of the map around the box; zero outside of the map.
  template <class T>
  void collect_line(const ConvTable<T>& table, const TileBox& box, int64_t z, int64_t y, T* out, std::vector<T>& spare) const {
    const int64_t c = base.channels, reach = halo[2], size = grid.size[2], side = grid.tile[2];
    const int64_t begin = box.start[2] - reach, end = box.start[2] + box.extent[2] + reach;
    const auto clear = [&](int64_t from, int64_t to) { std::memset(out + (from - begin) * c, 0, (to - from) * c * sizeof(T)); };
    if (z < 0 || z >= grid.size[0] || y < 0 || y >= grid.size[1]) return clear(begin, end);
    int64_t x = begin;
    if (begin < 0) clear(begin, x = 0);
    const int64_t stop = end < size ? end : size;
    if (stop < end) clear(stop, end);
    const int64_t tiles = ((box.batch * grid.grid[0] + z / grid.tile[0]) * grid.grid[1] + y / grid.tile[1]) * grid.grid[2];
    const int64_t inner = (z % grid.tile[0] * grid.tile[1] + y % grid.tile[1]) * side * c;
    for (int64_t t = x / side; x < stop; ++t) {
      const int32_t at = row_of(tiles + t);
      int64_t next = (t + 1) * side;
      if (at < 0) {
        for (; next < stop && row_of(tiles + t + 1) < 0; ++t) next += side;  // neighbours in the base: one run
        if (next > stop) next = stop;
        load_row<E, T>(table, base, window_row(base, Window{box.batch, {z, y, x}, {}}, 0, 0, 0), next - x,
                       out + (x - begin) * c, c, spare);
      } else {
        if (next > stop) next = stop;
        copy_values(store + at * row_size() + inner + (x - t * side) * c, (next - x) * c, out + (x - begin) * c);
      }
      x = next;
    }
  }
};

}  // namespace medseg::cpu
