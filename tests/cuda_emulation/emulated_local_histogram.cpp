// Test only: local_histogram and its gradient under emulation.
#include "emulated.h"
#include "run_local_histogram.cuh"

namespace {

using namespace medseg;

// numbers: maps, size 3, radius 3, bins, soft; values: low, high.
struct Call {
  TextureShape shape;
  Bins bins;
  Call(const int64_t* n, const double* v)
      : shape{n[0], 3, {n[1], n[2], n[3]}, {n[4], n[5], n[6]}}, bins{n[7], v[0], v[1], n[8] != 0} {}
};

template <class T>
void forward(const Call& c, const T* x, const bool* mask, T* out) {
  medseg_emulation::Memory memory;
  run_local_histogram<T>(memory, 0, c.shape, c.bins, x, mask, out);
}

template <class T>
void backward(const Call& c, const T* grad, const T* x, const bool* mask, T* dx) {
  medseg_emulation::Memory memory;
  run_local_histogram_backward<T>(memory, 0, c.shape, c.bins, grad, x, mask, dx);
}

}  // namespace

#define DEFINE_FOR(T, SUFFIX)                                                                                               \
  API void emu_local_histogram_##SUFFIX(const int64_t* numbers, const double* values, const T* x, const bool* mask, T* out) { \
    forward<T>(Call(numbers, values), x, mask, out);                                                                        \
  }                                                                                                                         \
  API void emu_local_histogram_backward_##SUFFIX(const int64_t* numbers, const double* values, const T* grad, const T* x,   \
                                                 const bool* mask, T* dx) {                                                 \
    backward<T>(Call(numbers, values), grad, x, mask, dx);                                                                  \
  }

DEFINE_FOR(float, f32)
DEFINE_FOR(double, f64)

MS_SANITIZER_CASE(local_histogram) {
  int64_t numbers[9] = {1, 2, 5, 6, 1, 1, 2, 3, 0};
  const double values[2] = {-1, 1};
  const std::vector<float> x = medseg_emulation::waves(60), grad = medseg_emulation::waves(180, 0.7f);
  std::vector<float> out(180), soft(180), dx(60);
  bool mask[60];
  for (int i = 0; i < 60; ++i) mask[i] = i % 7 != 0;
  emu_local_histogram_f32(numbers, values, x.data(), mask, out.data());
  numbers[8] = 1;
  emu_local_histogram_f32(numbers, values, x.data(), nullptr, soft.data());
  emu_local_histogram_backward_f32(numbers, values, grad.data(), x.data(), mask, dx.data());
  return medseg_emulation::sum_of(out) + medseg_emulation::sum_of(soft) + medseg_emulation::sum_of(dx);
}
