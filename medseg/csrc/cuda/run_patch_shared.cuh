// Sequences of kernels behind patch_select_shared and patch_select_slots, beyond those of patch_select.
#pragma once
#include "../common/surrogate.h"
#include "assign_patches.cuh"
#include "best_patches.cuh"
#include "run_patch_select.cuh"

namespace medseg {

template <class T>
struct ScoreBits {
  using type = uint32_t;
};
template <>
struct ScoreBits<double> {
  using type = uint64_t;
};

template <class T, class Stream>
void run_best_patches(Stream stream, int64_t batch, int64_t n, int64_t m, const T* score, int32_t* index) {
  using Bits = typename ScoreBits<T>::type;
  if (batch > 0) MS_LAUNCH((best_patches_kernel<T, Bits>), dim3(clamp_grid(batch)), dim3(256), stream, score, batch, n, m, index);
}

// dscores [batch, n] of one score per patch.
template <class T, class Workspace, class Stream>
void run_shared_score_gradient(Workspace& memory, Stream stream, const ScoreSizes& s, int64_t surrogate, T slope, T tau,
                               bool max_grad, const T* grad, const PatchMap& gm, const T* x, const PatchMap& xm, const T* score,
                               const int32_t* index, const SlotLists& lists, T* out) {
  const T* none = nullptr;
  const T* grad_sum = run_patch_moments<T>(memory, stream, s.batch, grad, gm, none, 0, 0, 1);
  const T* use = run_patch_product<T>(memory, stream, s.batch, x, xm, grad_sum, 1);
  if (surrogate == kSurrogateSoftmax) {
    MS_LAUNCH((softmax_gradient_kernel<T>), dim3(clamp_grid(s.batch)), dim3(256), stream, score, use, s.batch, s.n, (int64_t)1,
              slope, tau, out);
    return;
  }
  const T* correction = nullptr;
  if (max_grad) {
    const T* x_sum = run_patch_moments<T>(memory, stream, s.batch, x, xm, none, 0, 0, 1);
    correction = run_patch_product<T>(memory, stream, s.batch, grad, gm, x_sum, 1);
  } else {
    T* winners = memory.template get<T>(s.batch * s.m);
    const PatchGrid gg = gm.grid, xg = xm.grid;
    const int64_t gb = gm.batch_stride, xb = xm.batch_stride;
    MS_LAUNCH((winner_product_kernel<T>), dim3(clamp_grid(s.batch * s.m)), dim3(128), stream, grad, gb, gg, x, xb, xg, index,
              s.batch, winners);
    correction = winners;
  }
  const int32_t* head = lists.head;
  MS_LAUNCH((paper_gradient_kernel<T>), dim3(blocks_for(s.batch * s.n)), dim3(kThreads), stream, use, correction, head, s.batch,
            s.n, s.m, slope, out);
}

// patch_of [batch, m]: the patch of every query, none twice.
template <class T, class Workspace, class Stream>
void run_assign_patches(Workspace& memory, Stream stream, const ScoreSizes& s, const T* keys, const T* queries, int32_t* patch_of) {
  if (s.batch * s.m == 0) return;
  int32_t* candidate = memory.template get<int32_t>(s.batch * s.m * kCandidates);
  T* score = memory.template get<T>(s.batch * s.m * kCandidates);
  int32_t *holder = memory.template get<int32_t>(s.batch * s.n), *turn = memory.template get<int32_t>(s.batch * s.m);
  MS_LAUNCH((candidates_kernel<T>), dim3(clamp_grid(s.batch * s.m)), dim3(128), stream, keys, queries, s.batch, s.n, s.m, s.r,
            candidate, score);
  MS_LAUNCH((assign_patches_kernel<T>), dim3(clamp_grid(s.batch)), dim3(256), stream, candidate, score, s.batch, s.n, s.m, holder,
            turn, patch_of);
}

template <class Stream>
void run_order_slots(Stream stream, int64_t batch, int64_t m, bool raster, const int32_t* patch_of, int32_t* index, int32_t* query) {
  MS_LAUNCH((order_slots_kernel), dim3(blocks_for(batch * m)), dim3(kThreads), stream, patch_of, batch, m, raster, index, query);
}

template <class Stream>
void run_order_queries(Stream stream, int64_t batch, int64_t m, const int32_t* index, const int32_t* query, int32_t* patch_of,
                       int32_t* slot_of) {
  MS_LAUNCH((order_queries_kernel), dim3(blocks_for(batch * m)), dim3(kThreads), stream, index, query, batch, m, patch_of, slot_of);
}

}  // namespace medseg
