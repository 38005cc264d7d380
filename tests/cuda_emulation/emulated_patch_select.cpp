// Test only: score_argmax and patch_select under emulation.
#include "emulated.h"
#include "run_patch_select.cuh"

namespace {

using namespace medseg;
using medseg_emulation::Memory;

// sizes and strides: batch, channel, z, y, x; a 2-D map has z = 1 and flat = 1.
PatchMap map_of(const int64_t* sizes, const int64_t* strides, int64_t patch, int64_t flat) {
  PatchMap m{{sizes[1], {1, 1, 1}, {1, 1, 1}, {strides[1], strides[2], strides[3], strides[4]}}, strides[0]};
  for (int i = flat ? 1 : 0; i < 3; ++i) {
    m.grid.side[i] = patch;
    m.grid.grid[i] = sizes[2 + i] / patch;
  }
  return m;
}

PatchGrid halved(const PatchMap& full, int64_t flat) {
  PatchGrid g = full.grid;
  for (int i = flat ? 1 : 0; i < 3; ++i) g.grid[i] /= 2;
  return g;
}

template <class T>
void select_backward(const int64_t* sizes, const int64_t* x_strides, const int64_t* grad_strides, int64_t patch, int64_t flat,
                     int64_t r, double slope, int64_t max_grad, const T* grad, const T* x, const T* keys, const T* queries,
                     const int32_t* index, T* dx, T* dkeys, T* dqueries) {
  Memory memory;
  const PatchMap xm = map_of(sizes, x_strides, patch, flat);
  PatchMap gm = xm;
  gm.grid = halved(xm, flat);
  gm.batch_stride = grad_strides[0];
  for (int i = 0; i < 4; ++i) gm.grid.stride[i] = grad_strides[1 + i];
  const ScoreSizes s{sizes[0], patch_count(xm.grid), patch_count(gm.grid), r, true};
  const SlotLists lists = run_link_slots(memory, 0, s, index);
  run_scatter_patches<T>(0, s.batch, grad, gm, xm.grid, lists, dx);
  run_literal_score_gradient<T>(memory, 0, s, (T)slope, max_grad != 0, grad, gm, x, xm, keys, queries, index, lists, dkeys,
                                dqueries);
}

}  // namespace

#define DEFINE_FOR(T, SUFFIX)                                                                                                   \
  API void emu_score_argmax_##SUFFIX(const int64_t* s, const T* keys, const T* queries, int32_t* index, T* score) {             \
    Memory memory;                                                                                                              \
    run_score_argmax<T>(memory, 0, {s[0], s[1], s[2], s[3], s[4] != 0}, keys, queries, index, score);                           \
  }                                                                                                                             \
  API void emu_score_argmax_backward_##SUFFIX(const int64_t* s, const T* grad, const T* keys, const T* queries,                 \
                                              const int32_t* index, T* dkeys, T* dqueries) {                                    \
    Memory memory;                                                                                                              \
    run_score_argmax_backward<T>(memory, 0, {s[0], s[1], s[2], s[3], s[4] != 0}, grad, keys, queries, index, dkeys, dqueries);  \
  }                                                                                                                             \
  API void emu_patch_select_backward_##SUFFIX(const int64_t* sizes, const int64_t* x_strides, const int64_t* grad_strides,      \
                                              int64_t patch, int64_t flat, int64_t r, double slope, int64_t max_grad,           \
                                              const T* grad, const T* x, const T* keys, const T* queries, const int32_t* index, \
                                              T* dx, T* dkeys, T* dqueries) {                                                   \
    select_backward<T>(sizes, x_strides, grad_strides, patch, flat, r, slope, max_grad, grad, x, keys, queries, index, dx,      \
                       dkeys, dqueries);                                                                                        \
  }

DEFINE_FOR(float, f32)
DEFINE_FOR(double, f64)

#define DEFINE_COPY(U, BITS)                                                                                            \
  API void emu_copy_patches_##BITS(const int64_t* sizes, const int64_t* strides, int64_t patch, int64_t flat, const U* x, \
                                   const int32_t* index, U* out) {                                                      \
    const PatchMap xm = map_of(sizes, strides, patch, flat);                                                            \
    run_copy_patches<U>(0, sizes[0], x, xm, halved(xm, flat), index, out);                                              \
  }

DEFINE_COPY(uint16_t, 16)
DEFINE_COPY(uint32_t, 32)
DEFINE_COPY(uint64_t, 64)

MS_SANITIZER_CASE(patch_select) {
  const int64_t sizes[5] = {1, 2, 1, 20, 20}, strides[5] = {800, 400, 400, 20, 1}, grad_strides[5] = {200, 100, 100, 10, 1};
  const int64_t score[5] = {1, 100, 25, 5, 1};
  const std::vector<float> x = medseg_emulation::waves(800);
  const std::vector<float> keys(x.begin(), x.begin() + 500), queries(x.begin() + 99, x.begin() + 99 + 125);
  std::vector<int32_t> index(25);
  std::vector<float> best(25), out(200), dx(800), dkeys(500), dqueries(125);
  emu_score_argmax_f32(score, keys.data(), queries.data(), index.data(), best.data());
  emu_score_argmax_backward_f32(score, best.data(), keys.data(), queries.data(), index.data(), dkeys.data(), dqueries.data());
  emu_copy_patches_32(sizes, strides, 2, 1, reinterpret_cast<const uint32_t*>(x.data()), index.data(),
                      reinterpret_cast<uint32_t*>(out.data()));
  for (int64_t max_grad = 0; max_grad < 2; ++max_grad)
    emu_patch_select_backward_f32(sizes, strides, grad_strides, 2, 1, 5, 0.1, max_grad, out.data(), x.data(), keys.data(),
                                  queries.data(), index.data(), dx.data(), dkeys.data(), dqueries.data());
  return medseg_emulation::sum_of(dx) + medseg_emulation::sum_of(dkeys) + medseg_emulation::sum_of(dqueries);
}
