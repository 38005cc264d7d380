// Test only: bspline_warp and its gradient under emulation.
#include "emulated.h"
#include "run_bspline_warp.cuh"

namespace {

using namespace medseg;
using medseg_emulation::Memory;

// numbers: batch, channels, dims, size 3, points 3, shared control, nearest, border; x is contiguous.
WarpShape shape_of(const int64_t* n) {
  WarpShape s{n[0], n[1], n[2], {n[3], n[4], n[5]}, {n[4] * n[5], n[5], 1}, {n[6], n[7], n[8]}, 0, 0, 0, n[10] != 0, n[11] != 0};
  s.channel_stride = n[3] * n[4] * n[5];
  s.batch_stride = s.channel_stride * n[1];
  s.control_stride = n[9] ? 0 : n[2] * n[6] * n[7] * n[8];
  return s;
}

WarpGrid grid_of(const double* v) { return {{v[0], v[1], v[2]}, {v[3], v[4], v[5]}}; }

template <class T>
void forward(const int64_t* numbers, const double* values, const T* x, const T* control, T* out) {
  Memory memory;
  const WarpShape s = shape_of(numbers);
  using U = std::conditional_t<sizeof(T) == 8, uint64_t, uint32_t>;
  if (s.nearest)
    run_warp_nearest<T, U>(memory, 0, s, grid_of(values), reinterpret_cast<const U*>(x), control, reinterpret_cast<U*>(out));
  else run_warp_linear<T>(memory, 0, s, grid_of(values), x, control, (T)values[6], out);
}

template <class T>
void backward(const int64_t* numbers, const double* values, const T* grad, const T* x, const T* control, T* dx, T* dcontrol) {
  Memory memory;
  const WarpShape s = shape_of(numbers);
  run_warp_image_gradient<T>(memory, 0, s, grid_of(values), grad, control, dx);
  if (!s.nearest) run_warp_control_gradient<T>(memory, 0, s, grid_of(values), grad, x, control, (T)values[6], dcontrol);
}

}  // namespace

#define DEFINE_FOR(T, SUFFIX)                                                                                                     \
  API void emu_bspline_warp_##SUFFIX(const int64_t* numbers, const double* values, const T* x, const T* control, T* out) {        \
    forward<T>(numbers, values, x, control, out);                                                                                 \
  }                                                                                                                               \
  API void emu_bspline_warp_backward_##SUFFIX(const int64_t* numbers, const double* values, const T* grad, const T* x,            \
                                              const T* control, T* dx, T* dcontrol) {                                             \
    backward<T>(numbers, values, grad, x, control, dx, dcontrol);                                                                 \
  }

DEFINE_FOR(float, f32)
DEFINE_FOR(double, f64)

MS_SANITIZER_CASE(bspline_warp) {
  int64_t numbers[12] = {2, 2, 3, 3, 4, 5, 2, 3, 2, 1, 0, 0};
  const double values[7] = {0, -1, 0, 2, 1.5, 4, 0.5};
  const std::vector<float> x = medseg_emulation::waves(240), control = medseg_emulation::waves(36, 1.7f);
  std::vector<float> out(240), dx(240), dcontrol(36);
  emu_bspline_warp_f32(numbers, values, x.data(), control.data(), out.data());
  emu_bspline_warp_backward_f32(numbers, values, x.data(), x.data(), control.data(), dx.data(), dcontrol.data());
  numbers[10] = 1;
  std::vector<float> labels(240);
  emu_bspline_warp_f32(numbers, values, x.data(), control.data(), labels.data());
  return medseg_emulation::sum_of(out) + medseg_emulation::sum_of(dx) + medseg_emulation::sum_of(dcontrol) +
         medseg_emulation::sum_of(labels);
}
