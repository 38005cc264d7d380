// Boxes of a map of any strides, moved to and from channels-last scratch pixels [z][y][x][line]; line >= channels.
// The scratch is float32 or float64, the map may hold half-precision values.
#pragma once
#include <algorithm>
#include <cstring>
#include <type_traits>
#include <vector>

#include "conv_kernels.h"
#include "lazy_zeros.h"
#include "../common/op_inputs.h"

namespace medseg::cpu {

template <class S>
struct MapView {
  S* data;
  int64_t channels, batch_stride, channel_stride;
  int64_t size[3], stride[3];  // along z, y, x
};

template <class S>
MapView<S> map_view(const Tensor& t, S* data) {
  MapView<S> v{data, t.size(1), t.stride(0), t.stride(1), {1, 1, 1}, {0, 0, 0}};
  for (int64_t i = 2; i < t.dim(); ++i) {
    const int64_t axis = 3 - t.dim() + i;
    v.size[axis] = t.size(i);
    v.stride[axis] = t.stride(i);
  }
  return v;
}

template <class S>
MapView<const S> read_view(const Tensor& t) { return map_view(t, static_cast<const S*>(t.data_ptr())); }
template <class S>
MapView<S> write_view(const Tensor& t) { return map_view(t, static_cast<S*>(t.data_ptr())); }

struct Window {
  int64_t batch, start[3], extent[3];
  int64_t pixels() const { return extent[0] * extent[1] * extent[2]; }
};

// A window in memory: pixel (z, y, x) starts at data + z * plane + y * row + x * line.
template <class T>
struct Pixels {
  T* data;
  int64_t plane, row, line;
};

template <class T>
Pixels<T> dense_pixels(T* data, const int64_t extent[3], int64_t line) {
  return {data, extent[1] * extent[2] * line, extent[2] * line, line};
}

// Part of the window inside the map: [low, high) relative to the window's start.
struct Clip {
  int64_t low[3], high[3];
  template <class S>
  Clip(const MapView<S>& map, const Window& w) {
    for (int axis = 0; axis < 3; ++axis) {
      low[axis] = std::clamp<int64_t>(-w.start[axis], 0, w.extent[axis]);
      high[axis] = std::clamp<int64_t>(map.size[axis] - w.start[axis], low[axis], w.extent[axis]);
    }
  }
  bool holds(int64_t z, int64_t y) const { return z >= low[0] && z < high[0] && y >= low[1] && y < high[1]; }
};

template <class S>
S* window_row(const MapView<S>& map, const Window& w, int64_t z, int64_t y, int64_t x) {
  return map.data + w.batch * map.batch_stride + (w.start[0] + z) * map.stride[0] + (w.start[1] + y) * map.stride[1] +
         (w.start[2] + x) * map.stride[2];
}

// n values of unit stride, converted.
template <class From, class To>
void copy_values(const From* from, int64_t n, To* to) {
  if constexpr (std::is_same_v<From, To>) std::memcpy(to, from, n * sizeof(To));
  else if constexpr (sizeof(From) < sizeof(To)) for (int64_t i = 0; i < n; ++i) to[i] = (To)(float)from[i];
  else for (int64_t i = 0; i < n; ++i) to[i] = To((float)from[i]);
}

// n pixels of a row -> scratch; entries beyond the channels become zero.
template <class S, class T>
void load_row(const ConvTable<T>& table, const MapView<const S>& map, const S* row, int64_t n, T* pixels, int64_t line,
              std::vector<T>& spare) {
  const int64_t c = map.channels, step = map.stride[2], plane = map.channel_stride;
  if (plane == 1 && step == c && line == c) return copy_values(row, n * c, pixels);
  if (plane == 1) {
    for (int64_t p = 0; p < n; ++p) copy_values(row + p * step, c, pixels + p * line);
  } else if (step == 1 && std::is_same_v<const S, const T>) {
    table.to_pixels(reinterpret_cast<const T*>(row), plane, c, n, pixels, line);
  } else if (step == 1) {
    spare.resize(std::max<size_t>(spare.size(), c * n));
    for (int64_t i = 0; i < c; ++i) copy_values(row + i * plane, n, spare.data() + i * n);
    table.to_pixels(spare.data(), n, c, n, pixels, line);
  } else {
    for (int64_t p = 0; p < n; ++p)
      for (int64_t i = 0; i < c; ++i) pixels[p * line + i] = (T)row[p * step + i * plane];
  }
  if (line > c)
    for (int64_t p = 0; p < n; ++p) std::fill(pixels + p * line + c, pixels + (p + 1) * line, (T)0);
}

// The window as scratch pixels, zero outside the map.
template <class S, class T>
void load_window(const ConvTable<T>& table, const MapView<const S>& map, const Window& w, T* pixels, int64_t line,
                 std::vector<T>& spare) {
  const Clip clip(map, w);
  const int64_t width = w.extent[2], low = clip.low[2], high = clip.high[2];
  for (int64_t z = 0; z < w.extent[0]; ++z)
    for (int64_t y = 0; y < w.extent[1]; ++y, pixels += width * line) {
      if (!clip.holds(z, y) || low == high) {
        std::fill(pixels, pixels + width * line, (T)0);
        continue;
      }
      std::fill(pixels, pixels + low * line, (T)0);
      load_row<S, T>(table, map, window_row(map, w, z, y, low), high - low, pixels + low * line, line, spare);
      std::fill(pixels + high * line, pixels + width * line, (T)0);
    }
}

template <class S, class T>
void store_row(const ConvTable<T>& table, const MapView<S>& map, S* row, int64_t n, const T* pixels, int64_t line,
               std::vector<T>& spare) {
  const int64_t c = map.channels, step = map.stride[2], plane = map.channel_stride;
  if (plane == 1) {
    for (int64_t p = 0; p < n; ++p) copy_values(pixels + p * line, c, row + p * step);
  } else if (step == 1 && std::is_same_v<S, T>) {
    table.to_planes(pixels, line, c, n, reinterpret_cast<T*>(row), plane);
  } else if (step == 1) {
    spare.resize(std::max<size_t>(spare.size(), c * n));
    table.to_planes(pixels, line, c, n, spare.data(), n);
    for (int64_t i = 0; i < c; ++i) copy_values(spare.data() + i * n, n, row + i * plane);
  } else {
    for (int64_t p = 0; p < n; ++p)
      for (int64_t i = 0; i < c; ++i) row[p * step + i * plane] = S(pixels[p * line + i]);
  }
}

// Scratch pixels -> the part of the window inside the map.
template <class S, class T>
void store_window(const ConvTable<T>& table, const MapView<S>& map, const Window& w, const T* pixels, int64_t line,
                  std::vector<T>& spare) {
  const Clip clip(map, w);
  if (clip.low[2] == clip.high[2]) return;
  for (int64_t z = clip.low[0]; z < clip.high[0]; ++z)
    for (int64_t y = clip.low[1]; y < clip.high[1]; ++y)
      store_row<S, T>(table, map, window_row(map, w, z, y, clip.low[2]), clip.high[2] - clip.low[2],
                      pixels + ((z * w.extent[1] + y) * w.extent[2] + clip.low[2]) * line, line, spare);
}

// Zeros in the part of the window inside the map.
template <class S>
void clear_window(const MapView<S>& map, const Window& w) {
  const Clip clip(map, w);
  const int64_t n = clip.high[2] - clip.low[2], c = map.channels, step = map.stride[2], plane = map.channel_stride;
  if (n <= 0) return;
  for (int64_t z = clip.low[0]; z < clip.high[0]; ++z)
    for (int64_t y = clip.low[1]; y < clip.high[1]; ++y) {
      S* const row = window_row(map, w, z, y, clip.low[2]);
      if (plane == 1 && step == c) std::fill_n(row, n * c, S(0));
      else if (plane == 1) for (int64_t p = 0; p < n; ++p) std::fill_n(row + p * step, c, S(0));
      else if (step == 1) for (int64_t i = 0; i < c; ++i) std::fill_n(row + i * plane, n, S(0));
      else
        for (int64_t i = 0; i < c; ++i)
          for (int64_t p = 0; p < n; ++p) row[i * plane + p * step] = S(0);
    }
}

// `above`: the row before lies in the same window, so that the pages which both rows share are in memory already. Rows of maps
// whose pages are `fresh` (not touched yet) are touched before they are read.
template <class T>
void add_row(const ConvTable<T>& table, const MapView<T>& map, T* row, int64_t n, const T* pixels, int64_t line, bool above,
             bool fresh, std::vector<T>& spare) {
  const int64_t c = map.channels, step = map.stride[2], plane = map.channel_stride, up = above ? map.stride[1] : 0;
  const auto prepare = [&](T* begin, T* last) {
    if (!fresh) return;
    if (!above || !same_page(begin, begin - up)) touch_page(begin);
    for (char* p = reinterpret_cast<char*>(begin) + kPage; p < reinterpret_cast<char*>(last); p += kPage) touch_page(p);
    if (!same_page(begin, last)) touch_page(last);
  };
  if (plane == 1) {
    prepare(row, row + (n - 1) * step + c - 1);
    for (int64_t p = 0; p < n; ++p)
      for (int64_t i = 0; i < c; ++i) row[p * step + i] += pixels[p * line + i];
    return;
  }
  spare.resize(std::max<size_t>(spare.size(), c * n));
  table.to_planes(pixels, line, c, n, spare.data(), n);
  for (int64_t i = 0; i < c; ++i) {
    T* const own = row + i * plane;
    prepare(own, own + (n - 1) * step);
    const T* const more = spare.data() + i * n;
    if (step == 1) for (int64_t p = 0; p < n; ++p) own[p] += more[p];  // the common case, which becomes vectors
    else for (int64_t p = 0; p < n; ++p) own[p * step] += more[p];
  }
}

// Scratch pixels are added to the part of the window inside the map.
template <class T>
void add_window(const ConvTable<T>& table, const MapView<T>& map, const Window& w, const Pixels<const T>& pixels,
                std::vector<T>& spare, bool fresh = false) {
  const Clip clip(map, w);
  if (clip.low[2] == clip.high[2]) return;
  for (int64_t z = clip.low[0]; z < clip.high[0]; ++z)
    for (int64_t y = clip.low[1]; y < clip.high[1]; ++y)
      add_row(table, map, window_row(map, w, z, y, clip.low[2]), clip.high[2] - clip.low[2],
              pixels.data + z * pixels.plane + y * pixels.row + clip.low[2] * pixels.line, pixels.line, y > clip.low[1], fresh,
              spare);
}

// Estimated share of the map's pages that `count` windows of the given extent lie on.
template <class S>
double touched_share(const MapView<S>& map, int64_t batch, int64_t count, const int64_t extent[3]) {
  const double page = kPage / (double)sizeof(S);
  double pieces = (double)count * extent[0], span = (double)extent[2] * map.stride[2];
  if (map.channel_stride != 1) pieces *= map.channels;
  if (map.stride[1] < page) span = (double)extent[1] * map.stride[1];
  else pieces *= extent[1];
  const double all = (double)batch * map.channels * map.size[0] * map.size[1] * map.size[2] / page;
  return std::min(1.0, pieces * (span / page + 1) / std::max(all, 1.0));
}

}  // namespace medseg::cpu
