// Test only: patch_select_shared and patch_select_slots under emulation.
#include "emulated.h"
#include "run_patch_slots.cuh"

namespace {

using namespace medseg;
using medseg_emulation::Memory;

// numbers: batch, channels, size 3, patch, flat, rank; x and grad are contiguous.
struct Problem {
  PatchMap x, grad;
  ScoreSizes sizes;

  explicit Problem(const int64_t* n) {
    x.grid = {n[1], {1, 1, 1}, {1, 1, 1}, {0, 0, 0, 1}};
    grad.grid = x.grid;
    for (int i = n[6] ? 1 : 0; i < 3; ++i) {
      x.grid.side[i] = grad.grid.side[i] = n[5];
      x.grid.grid[i] = n[2 + i] / n[5];
      grad.grid.grid[i] = x.grid.grid[i] / 2;
    }
    for (PatchMap* m : {&x, &grad}) {
      PatchGrid& g = m->grid;
      g.stride[2] = g.grid[2] * g.side[2];
      g.stride[1] = g.stride[2] * g.grid[1] * g.side[1];
      g.stride[0] = g.stride[1] * g.grid[0] * g.side[0];
      m->batch_stride = g.stride[0] * n[1];
    }
    sizes = {n[0], patch_count(x.grid), patch_count(grad.grid), n[7], true};
  }
};

template <class T>
void shared_backward(const int64_t* numbers, int64_t surrogate, double slope, double tau, int64_t max_grad, const T* grad,
                     const T* x, const T* score, const int32_t* index, T* out) {
  Memory memory;
  const Problem p(numbers);
  const SlotLists lists = run_link_slots(memory, 0, p.sizes, index);
  run_shared_score_gradient<T>(memory, 0, p.sizes, surrogate, (T)slope, (T)tau, max_grad != 0, grad, p.grad, x, p.x, score, index,
                               lists, out);
}

template <class T>
void assign(const int64_t* numbers, int64_t raster, const T* keys, const T* queries, int32_t* index, int32_t* query) {
  Memory memory;
  const Problem p(numbers);
  int32_t* patch_of = memory.get<int32_t>(p.sizes.batch * p.sizes.m);
  run_assign_patches<T>(memory, 0, p.sizes, keys, queries, patch_of);
  run_order_slots(0, p.sizes.batch, p.sizes.m, raster != 0, patch_of, index, query);
}

template <class T>
void softmax_slots(const int64_t* numbers, double slope, double tau, const T* grad, const T* x, const T* keys, const T* queries,
                   T* dkeys, T* dqueries) {
  const Problem p(numbers);
  run_softmax_score_gradient<T>([] { return Memory(); }, 0, p.sizes, (T)slope, (T)tau, grad, p.grad, x, p.x, keys, queries, dkeys,
                                dqueries);
}

}  // namespace

API void emu_order_queries(const int64_t* numbers, const int32_t* index, const int32_t* query, int32_t* patch_of,
                           int32_t* slot_of) {
  const Problem p(numbers);
  run_order_queries(0, p.sizes.batch, p.sizes.m, index, query, patch_of, slot_of);
}

#define DEFINE_FOR(T, SUFFIX)                                                                                                  \
  API void emu_best_patches_##SUFFIX(int64_t batch, int64_t n, int64_t m, const T* score, int32_t* index) {                    \
    run_best_patches<T>(0, batch, n, m, score, index);                                                                         \
  }                                                                                                                            \
  API void emu_shared_backward_##SUFFIX(const int64_t* numbers, int64_t surrogate, double slope, double tau, int64_t max_grad, \
                                        const T* grad, const T* x, const T* score, const int32_t* index, T* out) {             \
    shared_backward<T>(numbers, surrogate, slope, tau, max_grad, grad, x, score, index, out);                                  \
  }                                                                                                                            \
  API void emu_assign_##SUFFIX(const int64_t* numbers, int64_t raster, const T* keys, const T* queries, int32_t* index,        \
                               int32_t* query) {                                                                               \
    assign<T>(numbers, raster, keys, queries, index, query);                                                                   \
  }                                                                                                                            \
  API void emu_softmax_slots_##SUFFIX(const int64_t* numbers, double slope, double tau, const T* grad, const T* x,             \
                                      const T* keys, const T* queries, T* dkeys, T* dqueries) {                                \
    softmax_slots<T>(numbers, slope, tau, grad, x, keys, queries, dkeys, dqueries);                                            \
  }

DEFINE_FOR(float, f32)
DEFINE_FOR(double, f64)

MS_SANITIZER_CASE(patch_select_shared) {
  const int64_t numbers[8] = {1, 2, 1, 8, 8, 2, 1, 5};
  const std::vector<float> x = medseg_emulation::waves(160);
  const std::vector<float> keys(x.begin(), x.begin() + 80), queries(4 * 5, 1.f);  // all queries want the same patches
  std::vector<int32_t> index(4), query(4), patch_of(4), slot_of(4);
  std::vector<float> out(16), dkeys(80), dqueries(20);
  emu_best_patches_f32(1, 16, 4, x.data(), index.data());
  for (int64_t surrogate = 0; surrogate < 2; ++surrogate)
    emu_shared_backward_f32(numbers, surrogate, 0.1, 1.0, 1, x.data() + 7, x.data(), x.data(), index.data(), out.data());
  emu_assign_f32(numbers, 1, keys.data(), queries.data(), index.data(), query.data());
  emu_order_queries(numbers, index.data(), query.data(), patch_of.data(), slot_of.data());
  emu_softmax_slots_f32(numbers, 0.1, 1.0, x.data() + 7, x.data(), keys.data(), queries.data(), dkeys.data(), dqueries.data());
  return medseg_emulation::sum_of(out) + medseg_emulation::sum_of(dkeys) + medseg_emulation::sum_of(dqueries);
}
