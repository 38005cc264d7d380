// Sequences of kernels behind patch_select: the copy, the scatter-add, and the gradient of the scores (formulas:
// medseg/ops/patch_select.py). Another surrogate would replace only run_literal_score_gradient.
#pragma once
#include "patch_copy.cuh"
#include "patch_product.cuh"
#include "run_score_argmax.cuh"

namespace medseg {

// A map as the kernels read it: its patches, and the distance between batch items in elements.
struct PatchMap {
  PatchGrid grid;
  int64_t batch_stride;
};

inline PatchGrid with_inner_strides(PatchGrid shape, const PatchGrid& source) {
  for (int i = 0; i < 4; ++i) shape.stride[i] = source.stride[i];
  return shape;
}

template <class U, class Stream>
void run_copy_patches(Stream stream, int64_t batch, const U* x, const PatchMap& xm, const PatchGrid& slots, const int32_t* index,
                      U* out) {
  const PatchGrid from = xm.grid, shape = with_inner_strides(slots, xm.grid);
  const int64_t count = batch * patch_entries(shape) * patch_count(shape), stride = xm.batch_stride;
  if (count == 0) return;
  MS_LAUNCH((copy_patches_kernel<U>), dim3(blocks_for(count)), dim3(kThreads), stream, x, stride, from, shape, index, batch, out);
}

template <class T, class Stream>
void run_scatter_patches(Stream stream, int64_t batch, const T* grad, const PatchMap& gm, const PatchGrid& full,
                         const SlotLists& lists, T* dx) {
  const PatchGrid from = gm.grid, to = with_inner_strides(full, gm.grid);
  const int64_t count = batch * patch_entries(to) * patch_count(to), stride = gm.batch_stride;
  const int32_t *head = lists.head, *next = lists.next;
  MS_LAUNCH((scatter_patches_kernel<T>), dim3(blocks_for(count)), dim3(kThreads), stream, grad, stride, from, to, head, next,
            batch, dx);
}

// P^T @ right [batch, entries, columns]; with columns = right_width + 1 the last one sums the patches.
template <class T, class Workspace, class Stream>
T* run_patch_moments(Workspace& memory, Stream stream, int64_t batch, const T* data, const PatchMap& map, const T* right,
                     int64_t right_batch, int64_t right_width, int64_t columns) {
  const PatchGrid g = map.grid;
  const int64_t length = 1024, splits = (patch_count(g) + length - 1) / length, stride = map.batch_stride;
  const int64_t rows = patch_entries(g), count = batch * rows * columns;
  T* parts = memory.template get<T>(splits * count);
  const dim3 grid((unsigned)((rows + kProductRows - 1) / kProductRows),
                  (unsigned)((columns + kProductColumns - 1) / kProductColumns), clamp_grid(batch * splits));
  MS_LAUNCH((patch_product_kernel<T, true>), grid, dim3(256), stream, data, stride, g, right, right_batch, right_width, batch,
            columns, length, splits, parts);
  if (splits == 1) return parts;
  T* sums = memory.template get<T>(count);
  MS_LAUNCH((sum_splits_kernel<T>), dim3(blocks_for(count)), dim3(kThreads), stream, parts, splits, count, sums);
  return sums;
}

// P @ a [batch, patches, columns], a [batch, entries, columns].
template <class T, class Workspace, class Stream>
T* run_patch_product(Workspace& memory, Stream stream, int64_t batch, const T* data, const PatchMap& map, const T* a,
                     int64_t columns) {
  const PatchGrid g = map.grid;
  const int64_t rows = patch_count(g), steps = patch_entries(g), stride = map.batch_stride;
  T* out = memory.template get<T>(batch * rows * columns);
  const dim3 grid((unsigned)((rows + kProductRows - 1) / kProductRows),
                  (unsigned)((columns + kProductColumns - 1) / kProductColumns), clamp_grid(batch));
  MS_LAUNCH((patch_product_kernel<T, false>), grid, dim3(256), stream, data, stride, g, a, steps * columns, columns, batch,
            columns, steps, (int64_t)1, out);
  return out;
}

// <gradient patch of a slot, the patch that the slot holds> [batch, m].
template <class T, class Workspace, class Stream>
T* run_winner_products(Workspace& memory, Stream stream, const ScoreSizes& s, const T* grad, const PatchMap& gm, const T* x,
                       const PatchMap& xm, const int32_t* index) {
  T* winners = memory.template get<T>(s.batch * s.m);
  const PatchGrid gg = gm.grid, xg = xm.grid;
  const int64_t gb = gm.batch_stride, xb = xm.batch_stride;
  MS_LAUNCH((winner_product_kernel<T>), dim3(clamp_grid(s.batch * s.m)), dim3(128), stream, grad, gb, gg, x, xb, xg, index,
            s.batch, winners);
  return winners;
}

template <class T, class Workspace, class Stream>
void run_literal_score_gradient(Workspace& memory, Stream stream, const ScoreSizes& s, T slope, bool max_grad, const T* grad,
                                const PatchMap& gm, const T* x, const PatchMap& xm, const T* keys, const T* queries,
                                const int32_t* index, const SlotLists& lists, T* dkeys, T* dqueries) {
  const int32_t *head = lists.head, *next = lists.next;
  const T* g_moments = run_patch_moments<T>(memory, stream, s.batch, grad, gm, queries, 0, s.r, s.r);
  const T* p_moments = run_patch_moments<T>(memory, stream, s.batch, x, xm, keys, s.n * s.r, s.r, s.r + 1);
  const T* from_grad = run_patch_product<T>(memory, stream, s.batch, grad, gm, p_moments, s.r + 1);
  const T* from_x = run_patch_product<T>(memory, stream, s.batch, x, xm, g_moments, s.r);
  const T* correction = from_grad + s.r;  // the column of ones: <gradient patch, sum of all patches>
  int64_t correction_stride = s.r + 1;
  if (!max_grad) {
    correction = run_winner_products<T>(memory, stream, s, grad, gm, x, xm, index);
    correction_stride = 1;
  }
  MS_LAUNCH((keys_gradient_kernel<T>), dim3(blocks_for(s.batch * s.n * s.r)), dim3(kThreads), stream, from_x, slope, correction,
            correction_stride, -slope, queries, (int64_t)0, head, next, s.batch, s.n, s.m, s.r, dkeys);
  MS_LAUNCH((queries_gradient_kernel<T>), dim3(blocks_for(s.m * s.r)), dim3(kThreads), stream, from_grad, s.r + 1, slope,
            correction, correction_stride, -slope, keys, index, s.batch, (int64_t)1, s.n, s.m, s.r, dqueries);
}

}  // namespace medseg
