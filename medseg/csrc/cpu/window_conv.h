// Convolution of channels-last windows and its two gradients, by the kernels of conv_kernels.h. Weights are packed once a
// call, in panels as wide as a register tile, so that the innermost loop reads them without a gap.
#pragma once
#include <algorithm>
#include <cstring>
#include <vector>

#include "map_window.h"
#include "op_helpers.h"
#include "patch_matrix.h"

namespace medseg::cpu {

// One matrix [groups * rows, columns] in panels: panel after panel, each [groups * rows][its width]; the last panel is as
// wide as the lanes need.
template <class T>
struct PanelMatrix {
  std::vector<T> values;
  int64_t rows, width, panel;

  // entry(group, row, column) gives the values.
  template <class Entry>
  PanelMatrix(const ConvTable<T>& table, int64_t groups, int64_t rows_per_group, int64_t columns, const Entry& entry)
      : rows(groups * rows_per_group), width(round_up(columns, table.lanes)), panel(table.panel_width) {
    values.resize(rows * width);
    for (int64_t c = 0; c < width; c += panel) {
      const int64_t wide = width_of(c), used = std::min(wide, columns - c);
      T* const first = values.data() + rows * c;
      // Groups innermost: the taps of a weight lie side by side, so every line of it is read once.
      for (int64_t r = 0; r < rows_per_group; ++r)
        for (int64_t g = 0; g < groups; ++g) {
          T* const v = first + (g * rows_per_group + r) * wide;
          for (int64_t j = 0; j < used; ++j) v[j] = entry(g, r, c + j);
        }
    }
  }

  int64_t width_of(int64_t c) const { return std::min(panel, width - c); }
  const T* at(int64_t row, int64_t c) const { return values.data() + rows * c + row * width_of(c); }
};

// weight [out][in][z][y][x] -> rows (z, y, x, in), columns out: the forward pass.
template <class T>
PanelMatrix<T> forward_weights(const ConvTable<T>& table, const T* weight, int64_t out, int64_t in, int64_t taps) {
  return PanelMatrix<T>(table, taps, in, out,
                        [=](int64_t t, int64_t i, int64_t o) { return weight[(o * in + i) * taps + t]; });
}

// weight [out][in][z][y][x] -> rows (x, z, y, out), columns in: the data gradient, one shift along x after the other.
template <class T>
PanelMatrix<T> data_gradient_weights(const ConvTable<T>& table, const T* weight, int64_t out, int64_t in,
                                     const int64_t kernel[3]) {
  const int64_t width = kernel[2], lines = kernel[0] * kernel[1], taps = lines * width;
  return PanelMatrix<T>(table, taps, out, in, [=](int64_t t, int64_t o, int64_t i) {
    return weight[(o * in + i) * taps + t % lines * width + t / lines];
  });
}

constexpr int kMostTaps = 25;  // rows of a 5 x 5 x 5 kernel

// out(z, y, x) = bias + sum over the kernel of x(z + kz, y + ky, x + kx) * weight, for `extent` pixels. `x` starts one halo
// before the first output pixel and its pixels lie `in` values apart; `out` pixels have room for the padded width.
template <class T>
void convolve_window(const ConvTable<T>& table, const PanelMatrix<T>& weights, const int64_t kernel[3], int64_t in,
                     const T* bias, const Pixels<const T>& x, const int64_t extent[3], const Pixels<T>& out) {
  const int taps = (int)(kernel[0] * kernel[1]);
  const T* a[kMostTaps];
  for (int64_t c = 0; c < weights.width; c += weights.panel)
    for (int64_t z = 0; z < extent[0]; ++z)
      for (int64_t y = 0; y < extent[1]; ++y) {
        for (int t = 0; t < taps; ++t)
          a[t] = x.data + (z + t / kernel[1]) * x.plane + (y + t % kernel[1]) * x.row;
        table.rows(a, taps, kernel[2] * in, x.line, weights.at(0, c), weights.width_of(c), bias ? bias + c : nullptr,
                   out.data + z * out.plane + y * out.row + c, out.line, extent[2], false);
      }
}

// Gradient of convolve_window to its input: out(v + k) += g(v) * weight(k). `g` covers `extent` pixels of `outputs` channels;
// `out` covers extent + kernel - 1 pixels and is overwritten. Same number of multiplications as the forward pass: each
// output row takes only the kernel rows that meet the gradient, and each shift along x only the pixels that do.
template <class T>
void spread_window(const ConvTable<T>& table, const PanelMatrix<T>& weights, const int64_t kernel[3], int64_t outputs,
                   const Pixels<const T>& g, const int64_t extent[3], const Pixels<T>& out) {
  const int64_t depth = extent[0] + kernel[0] - 1, height = extent[1] + kernel[1] - 1, width = extent[2] + kernel[2] - 1;
  const T* a[kMostTaps];
  for (int64_t z = 0; z < depth; ++z)
    for (int64_t y = 0; y < height; ++y)
      std::memset(out.data + z * out.plane + y * out.row, 0, width * out.line * sizeof(T));
  for (int64_t c = 0; c < weights.width; c += weights.panel)
    for (int64_t kx = 0; kx < kernel[2]; ++kx)
      for (int64_t z = 0; z < depth; ++z)
        for (int64_t y = 0; y < height; ++y) {
          const int64_t z0 = std::max<int64_t>(0, z - extent[0] + 1), z1 = std::min(kernel[0], z + 1);
          const int64_t y0 = std::max<int64_t>(0, y - extent[1] + 1), y1 = std::min(kernel[1], y + 1);
          T* row = out.data + z * out.plane + y * out.row + kx * out.line + c;
          int taps = 0;
          int64_t first = (kx * kernel[0] + z0) * kernel[1] + y0;
          for (int64_t kz = z0; kz < z1; ++kz) {
            for (int64_t ky = y0; ky < y1; ++ky) a[taps++] = g.data + (z - kz) * g.plane + (y - ky) * g.row;
            if (y1 - y0 == kernel[1] && kz + 1 < z1) continue;  // the weights of the next kz follow without a gap
            table.rows(a, taps, outputs, g.line, weights.at(first * outputs, c), weights.width_of(c), nullptr, row, out.line,
                       extent[2], true);
            taps = 0;
            first = (kx * kernel[0] + kz + 1) * kernel[1] + y0;
          }
        }
}

// Gradient of convolve_window to its weights, rows (z, y, x, in), columns out: dw += sum over pixels of x * g. `dw` has rows
// of `width` values, and so have the pixels of g.
template <class T>
void correlate_window(const ConvTable<T>& table, const int64_t kernel[3], int64_t in, const Pixels<const T>& x,
                      const Pixels<const T>& g, const int64_t extent[3], T* dw, int64_t width) {
  const int taps = (int)(kernel[0] * kernel[1]);
  const T* a[kMostTaps];
  for (int64_t z = 0; z < extent[0]; ++z) {
    for (int t = 0; t < taps; ++t) a[t] = x.data + (z + t / kernel[1]) * x.plane + t % kernel[1] * x.row;
    table.outer_lines(a, taps, kernel[2] * in, x.line, x.row, g.data + z * g.plane, g.line, g.row, extent[2], extent[1], dw,
                      width);
  }
}

// Adds the weight gradients of several chunks of tiles, in the order of the chunks. A chunk has taps * in rows (tap, in) of
// `width` values, as correlate_window writes them, and then one row for the bias. dweight [out][in][taps] and dbias [out]; a
// null pointer is not written.
template <class T>
void add_chunks(const T* sums, int64_t chunks, int64_t taps, int64_t in, int64_t out, int64_t width, T* dweight, T* dbias) {
  const int64_t rows = taps * in, size = (rows + 1) * width;
  const int64_t first = dweight == nullptr ? rows : 0, last = dbias == nullptr ? rows : rows + 1;
  torch::stable::parallel_for(first, last, grain(chunks * width), [&](int64_t begin, int64_t end) {
    std::vector<T> total(width);
    for (int64_t r = begin; r < end; ++r) {
      std::fill(total.begin(), total.end(), (T)0);
      for (int64_t c = 0; c < chunks; ++c)
        for (int64_t o = 0; o < width; ++o) total[o] += sums[c * size + r * width + o];
      const int64_t t = r / in, i = r % in;
      for (int64_t o = 0; o < out; ++o) (r == rows ? dbias[o] : dweight[(o * in + i) * taps + t]) = total[o];
    }
  });
}

}  // namespace medseg::cpu
