// Test only: block_conv under emulation.
#include "emulated.h"
#include "run_block_conv.cuh"

namespace {

using namespace medseg;
using medseg_emulation::Memory;

// numbers: batch, size 3, tile 3, grid 3, kernel 3, in, out, rows.
ConvSizes sizes_of(const int64_t* n) {
  return {{n[0], {n[1], n[2], n[3]}, {n[4], n[5], n[6]}, {n[7], n[8], n[9]}}, {n[10], n[11], n[12]}, n[13], n[14]};
}

template <class T>
TileView<T> view_of(T* data, const int64_t* strides, int64_t packed) {
  return {data, {strides[0], strides[1], strides[2], strides[3], strides[4]}, packed != 0};
}

template <class T>
BlockConv<T> problem(const int64_t* numbers, const int64_t* x_strides, int64_t zero_halo, const T* x, const computed_t<T>* weight,
                     const int32_t* index) {
  return {sizes_of(numbers), index, numbers[15], zero_halo != 0, view_of(x, x_strides, 0), weight};
}

template <class T>
void forward(const int64_t* numbers, const int64_t* x_strides, const int64_t* out_strides, int64_t zero_halo, int64_t packed,
             const T* x, const computed_t<T>* weight, const computed_t<T>* bias, const int32_t* index, T* out) {
  Memory memory;
  run_block_conv<T>(memory, 0, problem(numbers, x_strides, zero_halo, x, weight, index), bias, view_of(out, out_strides, packed));
}

template <class T>
void backward(const int64_t* numbers, const int64_t* x_strides, const int64_t* grad_strides, int64_t zero_halo, int64_t packed,
              const T* grad, const T* x, const computed_t<T>* weight, const int32_t* index, T* dx, computed_t<T>* dweight,
              computed_t<T>* dbias) {
  Memory memory;
  run_block_conv_backward<T>(memory, 0, problem(numbers, x_strides, zero_halo, x, weight, index), view_of(grad, grad_strides, packed),
                             view_of(dx, x_strides, 0), dweight, dbias);
}

// One call each way on a batch of two 7 x 10 maps of two tiles a side, channels-last, without tile 1.
template <class T>
double both_ways(int64_t channels, int64_t zero_halo) {
  const int64_t numbers[16] = {2, 1, 7, 10, 1, 4, 5, 1, 2, 2, 1, 3, 3, channels, channels, 8};
  const int64_t strides[5] = {70 * channels, 1, 70 * channels, 10 * channels, channels};
  const int64_t packed[5] = {20 * channels, 1, 20 * channels, 5 * channels, channels};
  const int32_t index[8] = {0, 2, 3, 4, 5, 6, 7, -1};
  using A = computed_t<T>;
  const std::vector<A> weight = medseg_emulation::waves<A>(channels * channels * 9), bias = medseg_emulation::waves<A>(channels);
  const std::vector<A> values = medseg_emulation::waves<A>(140 * channels);
  std::vector<T> x(values.size()), out(160 * channels), dx(values.size());
  for (size_t i = 0; i < x.size(); ++i) x[i] = narrowed<T>(values[i]);
  for (T& v : dx) v = narrowed<T>(0);
  std::vector<A> dweight(weight.size()), dbias(channels);
  forward<T>(numbers, strides, packed, zero_halo, 1, x.data(), weight.data(), bias.data(), index, out.data());
  backward<T>(numbers, strides, packed, zero_halo, 1, out.data(), x.data(), weight.data(), index, dx.data(), dweight.data(),
              dbias.data());
  double sum = medseg_emulation::sum_of(dweight) + medseg_emulation::sum_of(dbias);
  for (const T& v : dx) sum += widened(v);
  return sum;
}

}  // namespace

#define DEFINE_FOR(T, SUFFIX)                                                                                                     \
  API void emu_block_conv_##SUFFIX(const int64_t* n, const int64_t* xs, const int64_t* os, int64_t zero, int64_t packed,          \
                                   const T* x, const computed_t<T>* weight, const computed_t<T>* bias, const int32_t* index,      \
                                   T* out) {                                                                                      \
    forward<T>(n, xs, os, zero, packed, x, weight, bias, index, out);                                                             \
  }                                                                                                                               \
  API void emu_block_conv_backward_##SUFFIX(const int64_t* n, const int64_t* xs, const int64_t* gs, int64_t zero, int64_t packed, \
                                            const T* grad, const T* x, const computed_t<T>* weight, const int32_t* index, T* dx,  \
                                            computed_t<T>* dweight, computed_t<T>* dbias) {                                       \
    backward<T>(n, xs, gs, zero, packed, grad, x, weight, index, dx, dweight, dbias);                                             \
  }

DEFINE_FOR(float, f32)
DEFINE_FOR(double, f64)
DEFINE_FOR(__nv_bfloat16, bf16)
DEFINE_FOR(__half, f16)

MS_SANITIZER_CASE(block_conv) { return both_ways<float>(3, 0) + both_ways<float>(3, 1); }

MS_SANITIZER_CASE(block_conv_on_tensor_cores) { return both_ways<__nv_bfloat16>(8, 0) + both_ways<__nv_bfloat16>(5, 1); }
