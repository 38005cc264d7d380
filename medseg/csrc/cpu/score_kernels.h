// The kernels of score_argmax and of the ops that select patches, one table for each instruction set (see isa.h).
#pragma once
#include <cstdint>

namespace medseg {

template <class T>
struct ScoreTable {
  // Queries [m0, m1) of queries [m, r] against all n keys [n, r]: index and score of the best key for each.
  // panel: scratch of r * panel_width values.
  void (*score_argmax)(const T* keys, int64_t n, int64_t r, const T* queries, int64_t m0, int64_t m1, T* panel,
                       int32_t* index, T* score);
  // y[i - i0, :] += sum over e of data[row[i] + entry[e]] * a[e, :], rows i0..i1 (a multiple of `rows` apart).
  void (*project)(const T* data, const int64_t* row, int64_t i0, int64_t i1, const int64_t* entry, int64_t entries,
                  const T* a, int64_t width, T* y);
  // a[e, :] += sum over i of data[row[i] + entry[e]] * v[i, :], entries e0..e1 (a multiple of `rows` apart).
  void (*accumulate)(const T* data, const int64_t* row, int64_t rows_total, const int64_t* entry, int64_t e0, int64_t e1,
                     const T* v, int64_t width, T* a);
  int rows;         // rows per register tile: project and accumulate work on multiples of it
  int lanes;        // values per vector: `width` is a multiple of it
  int panel_width;  // queries per panel of score_argmax
  const char* name;
};

extern const ScoreTable<float> score_generic;
extern const ScoreTable<double> score_generic64;
#if defined(__x86_64__)
extern const ScoreTable<float> score_avx2;
extern const ScoreTable<float> score_avx512;
#endif

}  // namespace medseg
