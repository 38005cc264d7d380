// Test only: nvcuda::wmma with 16x16x16 fragments of 16-bit floats and float32 sums.
//
// CUDA does not define which lane holds which element. Here lane l of a warp owns row l / 2 and the eight columns from
// 8 (l % 2) of a sum, and keeps the elements of the factors that these need. The lanes are not synchronised, so that the barriers of a
// kernel itself are tested.
#pragma once
#include "cuda_emulation.h"

namespace nvcuda::wmma {

struct matrix_a {};
struct matrix_b {};
struct accumulator {};
struct row_major {};
struct col_major {};
enum layout_t { mem_row_major, mem_col_major };

inline float as_float(__nv_bfloat16 value) { return __bfloat162float(value); }
inline float as_float(__half value) { return __half2float(value); }

inline unsigned own_row() { return medseg_emulation::lane() / 2; }
inline unsigned own_column() { return medseg_emulation::lane() % 2 * 8; }

template <class Use, int M, int N, int K, class T, class Layout = void>
struct fragment {
  static_assert(M == 16 && N == 16 && K == 16);
  static constexpr int num_elements = std::is_same_v<Use, accumulator> ? 8 : std::is_same_v<Use, matrix_a> ? 16 : 128;
  float x[num_elements];
};

template <class T>
void check_matrix(const T* pointer, unsigned pitch) {
  medseg_emulation::check_alignment(pointer, 32);
  if (pitch * sizeof(T) % 16 != 0) medseg_emulation::fail("the rows of a matrix fragment are not 16 bytes apart or a multiple");
}

template <class T, class Layout>
void load_matrix_sync(fragment<matrix_a, 16, 16, 16, T, Layout>& f, const T* from, unsigned pitch) {
  check_matrix(from, pitch);
  constexpr bool rows = std::is_same_v<Layout, row_major>;
  for (unsigned k = 0; k < 16; ++k) f.x[k] = as_float(rows ? from[own_row() * pitch + k] : from[k * pitch + own_row()]);
}

template <class T, class Layout>
void load_matrix_sync(fragment<matrix_b, 16, 16, 16, T, Layout>& f, const T* from, unsigned pitch) {
  check_matrix(from, pitch);
  constexpr bool rows = std::is_same_v<Layout, row_major>;
  for (unsigned k = 0; k < 16; ++k)
    for (unsigned j = 0; j < 8; ++j) {
      const unsigned n = own_column() + j;
      f.x[k * 8 + j] = as_float(rows ? from[k * pitch + n] : from[n * pitch + k]);
    }
}

template <class T, class LayoutA, class LayoutB>
void mma_sync(fragment<accumulator, 16, 16, 16, float>& d, const fragment<matrix_a, 16, 16, 16, T, LayoutA>& a,
              const fragment<matrix_b, 16, 16, 16, T, LayoutB>& b, const fragment<accumulator, 16, 16, 16, float>& c) {
  for (unsigned j = 0; j < 8; ++j) {
    float sum = c.x[j];
    for (unsigned k = 0; k < 16; ++k) sum += a.x[k] * b.x[k * 8 + j];
    d.x[j] = sum;
  }
}

inline void fill_fragment(fragment<accumulator, 16, 16, 16, float>& f, float value) {
  for (float& x : f.x) x = value;
}

inline void store_matrix_sync(float* to, const fragment<accumulator, 16, 16, 16, float>& f, unsigned pitch, layout_t layout) {
  check_matrix(to, pitch);
  for (unsigned j = 0; j < 8; ++j) {
    const unsigned n = own_column() + j;
    to[layout == mem_row_major ? own_row() * pitch + n : n * pitch + own_row()] = f.x[j];
  }
}

}  // namespace nvcuda::wmma
