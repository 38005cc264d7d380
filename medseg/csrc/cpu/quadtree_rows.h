// Sums over the rows of an image, written so that the compiler turns the loops into vector code.
#pragma once
#include <cmath>
#include <cstdint>

#include "../common/quadtree_shape.h"

namespace medseg::cpu {

// A map's plane of rows: strides in elements, x contiguous.
template <class T>
struct Volume {
  const T* data;
  int64_t size[3], stride[2];
  const T* row(int64_t z, int64_t y) const { return data + z * stride[0] + y * stride[1]; }
};

// Neighbours of a position along an axis and the factor of their difference: central, one-sided at the border.
struct Difference {
  int64_t low, high;
  double factor;
};

inline Difference difference(int64_t i, int64_t n, double step) {
  const int64_t low = i > 0 ? i - 1 : 0, high = i + 1 < n ? i + 1 : i;
  return {low, high, high == low ? 0.0 : high - low == 2 ? 0.5 / step : 1.0 / step};
}

template <class T>
T magnitude_at(const Volume<T>& v, const T* rows[5], const T factor[2], int64_t x, double step) {
  const Difference d = difference(x, v.size[2], step);
  const T gz = v.size[0] > 1 ? (rows[1][x] - rows[0][x]) * factor[0] : (T)0;
  const T gy = v.size[1] > 1 ? (rows[3][x] - rows[2][x]) * factor[1] : (T)0;
  const T gx = v.size[2] > 1 ? (rows[4][d.high] - rows[4][d.low]) * (T)d.factor : (T)0;
  return std::sqrt(gz * gz + gy * gy + gx * gx);
}

// sum[x] += length of the gradient at (z, y, x).
template <class T>
void add_gradient_row(const Volume<T>& v, int64_t z, int64_t y, const double* spacing, T* __restrict__ sum) {
  const Difference dz = difference(z, v.size[0], spacing[0]), dy = difference(y, v.size[1], spacing[1]);
  const T* rows[5] = {v.row(dz.low, y), v.row(dz.high, y), v.row(z, dy.low), v.row(z, dy.high), v.row(z, y)};
  const T factor[2] = {(T)dz.factor, (T)dy.factor};
  const int64_t n = v.size[2];
  sum[0] += magnitude_at(v, rows, factor, 0, spacing[2]);
  if (n > 1) sum[n - 1] += magnitude_at(v, rows, factor, n - 1, spacing[2]);
  const T *za = rows[0], *zb = rows[1], *ya = rows[2], *yb = rows[3], *at = rows[4];
  const T fz = factor[0], fy = v.size[1] > 1 ? factor[1] : (T)0, fx = (T)(0.5 / spacing[2]);
  if (v.size[0] > 1) {
    for (int64_t x = 1; x < n - 1; ++x) {
      const T gz = (zb[x] - za[x]) * fz, gy = (yb[x] - ya[x]) * fy, gx = (at[x + 1] - at[x - 1]) * fx;
      sum[x] += std::sqrt(gz * gz + gy * gy + gx * gx);
    }
  } else {
    for (int64_t x = 1; x < n - 1; ++x) {
      const T gy = (yb[x] - ya[x]) * fy, gx = (at[x + 1] - at[x - 1]) * fx;
      sum[x] += std::sqrt(gy * gy + gx * gx);
    }
  }
}

template <class T>
void add_row(const T* __restrict__ row, int64_t n, T* __restrict__ sum) {
  for (int64_t x = 0; x < n; ++x) sum[x] += row[x];
}

template <class T>
void add_square_row(const T* __restrict__ row, const T* __restrict__ mean, int64_t n, T* __restrict__ sum) {
  for (int64_t x = 0; x < n; ++x) {
    const T d = row[x] - mean[x];
    sum[x] += d * d;
  }
}

// NaN stays.
template <class T>
void widen_range_row(const T* __restrict__ row, int64_t n, T* __restrict__ high, T* __restrict__ low) {
  for (int64_t x = 0; x < n; ++x) {
    const T v = row[x], h = high[x], l = low[x];
    high[x] = (v > h || v != v) ? v : h;
    low[x] = (v < l || v != v) ? v : l;
  }
}

}  // namespace medseg::cpu
