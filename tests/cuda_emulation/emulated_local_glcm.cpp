// Test only: local_glcm and its gradient under emulation.
#include "emulated.h"
#include "run_local_glcm.cuh"

namespace {

using namespace medseg;

// numbers: maps, size 3, radius 3, levels, feature bits, mean, number of offsets, their steps.
GlcmProblem problem_of(const int64_t* n) {
  GlcmProblem problem{{n[0], 3, {n[1], n[2], n[3]}, {n[4], n[5], n[6]}}, {}, FeatureMaps(n[8]), n[7], n[9] ? 1 : n[10]};
  for (int64_t a = 0; a < n[10]; ++a) problem.offsets.push_back({{n[11 + 3 * a], n[12 + 3 * a], n[13 + 3 * a]}});
  return problem;
}

template <class T>
void forward(const int64_t* numbers, const T* x, const bool* mask, T* out) {
  medseg_emulation::Memory memory;
  run_local_glcm<T>(memory, 0, problem_of(numbers), x, mask, out);
}

template <class T>
void backward(const int64_t* numbers, const T* grad, const T* x, const bool* mask, T* dx) {
  medseg_emulation::Memory memory;
  run_local_glcm_backward<T>(memory, 0, problem_of(numbers), grad, x, mask, dx);
}

}  // namespace

#define DEFINE_FOR(T, SUFFIX)                                                                                        \
  API void emu_local_glcm_##SUFFIX(const int64_t* numbers, const T* x, const bool* mask, T* out) {                   \
    forward<T>(numbers, x, mask, out);                                                                               \
  }                                                                                                                  \
  API void emu_local_glcm_backward_##SUFFIX(const int64_t* numbers, const T* grad, const T* x, const bool* mask, T* dx) { \
    backward<T>(numbers, grad, x, mask, dx);                                                                         \
  }

DEFINE_FOR(float, f32)
DEFINE_FOR(double, f64)

// Both kinds of features and both ways; then counters in scratch.
MS_SANITIZER_CASE(local_glcm) {
  int64_t numbers[17] = {1, 1, 3, 5, 0, 1, 1, 4, 1023, 1, 2, 0, 0, 1, 0, 1, -1};
  std::vector<float> x = medseg_emulation::waves(15), grad = medseg_emulation::waves(150), out(150), dx(15), counted(15);
  for (float& v : x) v = 2 + 2 * v;
  emu_local_glcm_f32(numbers, x.data(), nullptr, out.data());
  emu_local_glcm_backward_f32(numbers, grad.data(), x.data(), nullptr, dx.data());
  numbers[7] = 300;
  numbers[8] = 32;
  emu_local_glcm_f32(numbers, x.data(), nullptr, counted.data());
  return medseg_emulation::sum_of(out) + medseg_emulation::sum_of(dx) + medseg_emulation::sum_of(counted);
}
