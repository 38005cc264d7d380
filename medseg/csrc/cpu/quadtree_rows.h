// The loops over image rows of quadtree_plan, one table for each instruction set (see isa.h).
#pragma once
#include <cstdint>

namespace medseg {

template <class T>
struct QuadtreeTable {
  // sum[x] += length of the gradient for 0 < x < n - 1. rows: the row before and after along z, along y, and the row itself;
  // factor: of the differences along z, y, x; deep: whether there is more than one plane.
  void (*gradient_row)(const T* const* rows, const T* factor, int64_t n, bool deep, T* sum);
  void (*add_row)(const T* row, int64_t n, T* sum);
  // sum[x] += (row[x] - mean[x])^2.
  void (*add_square_row)(const T* row, const T* mean, int64_t n, T* sum);
  // Maximum and minimum so far; NaN stays.
  void (*widen_range_row)(const T* row, int64_t n, T* high, T* low);
  // best[i] = the larger of itself and sum[i] / (rows * width[i]); NaN stays.
  void (*raise_to_mean)(const T* sum, const T* width, T rows, int64_t n, T* best);
  const char* name;
};

extern const QuadtreeTable<float> quadtree_generic;
extern const QuadtreeTable<double> quadtree_generic64;
#if defined(__x86_64__)
extern const QuadtreeTable<float> quadtree_avx2;
extern const QuadtreeTable<float> quadtree_avx512;
#endif

}  // namespace medseg
