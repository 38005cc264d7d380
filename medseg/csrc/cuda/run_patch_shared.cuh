// Sequences of kernels behind patch_select_shared, beyond those of patch_select.
#pragma once
#include "../common/codes.h"
#include "best_patches.cuh"
#include "run_patch_select.cuh"

namespace medseg {

template <class T, class Stream>
void run_best_patches(Stream stream, int64_t batch, int64_t n, int64_t m, const T* score, int32_t* index) {
  if (batch > 0) MS_LAUNCH((best_patches_kernel<T>), dim3(clamp_grid(batch)), dim3(256), stream, score, batch, n, m, index);
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
    correction = run_winner_products<T>(memory, stream, s, grad, gm, x, xm, index);
  }
  const int32_t* head = lists.head;
  MS_LAUNCH((paper_gradient_kernel<T>), dim3(blocks_for(s.batch * s.n)), dim3(kThreads), stream, use, correction, head, s.batch,
            s.n, s.m, slope, out);
}

}  // namespace medseg
