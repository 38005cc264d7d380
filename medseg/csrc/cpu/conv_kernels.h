// The convolution kernels of block_conv and quadtree_conv, one table for each instruction set (see isa.h). Pixels are
// channels-last: a run of kx taps in a row of pixels is one "tap" of K = kx * channels contiguous values, so a kernel of kz *
// ky * kx needs kz * ky tap pointers and no gather.
#pragma once
#include <cstdint>

namespace medseg {

template <class T>
struct ConvTable {
  // out[p * ldo + c] (+)= bias[c] + sum over t < taps, k < K of a[t][p * lda + k] * w[(t * K + k) * width + c] for n pixels p
  // and c < width, a multiple of `lanes`. bias may be null; add: accumulate into out.
  void (*rows)(const T* const* a, int taps, int64_t K, int64_t lda, const T* w, int64_t width, const T* bias, T* out,
               int64_t ldo, int64_t n, bool add);
  // dw[(t * K + k) * width + c] += sum over n pixels p of a[t][p * lda + k] * g[p * ldg + c].
  void (*outer)(const T* const* a, int taps, int64_t K, int64_t lda, const T* g, int64_t ldg, int64_t n, T* dw,
                int64_t width);
  // The same over `lines` runs of n pixels: run l starts at a[t] + l * a_line and g + l * g_line. The sums stay in
  // registers over all lines.
  void (*outer_lines)(const T* const* a, int taps, int64_t K, int64_t lda, int64_t a_line, const T* g, int64_t ldg,
                      int64_t g_line, int64_t n, int64_t lines, T* dw, int64_t width);
  // [channels][n] planes (plane stride) -> [n][ldo] pixels, and back.
  void (*to_pixels)(const T* planes, int64_t plane, int64_t channels, int64_t n, T* pixels, int64_t ldo);
  void (*to_planes)(const T* pixels, int64_t ldi, int64_t channels, int64_t n, T* planes, int64_t plane);
  int lanes;        // values per vector: every width is a multiple of it
  int panel_width;  // columns of one register tile: weights packed in panels of this width are read without a gap
  const char* name;
};

extern const ConvTable<float> conv_generic;
extern const ConvTable<double> conv_generic64;
#if defined(__x86_64__)
extern const ConvTable<float> conv_avx2;
extern const ConvTable<float> conv_avx512;
#endif

}  // namespace medseg
