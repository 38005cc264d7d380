// Sequences of kernels behind patch_select_slots, beyond those of patch_select: patches that no two queries share, the order of
// the slots, and the gradient of the scores under the softmax surrogate, block after block of slots.
#pragma once
#include "assign_patches.cuh"
#include "run_patch_shared.cuh"

namespace medseg {

constexpr int64_t kSlotBlock = 256;

// out [batch, entries, columns]: entry e of patch first + c.
template <class T>
__global__ void __launch_bounds__(256) patch_columns_kernel(const T* data, int64_t data_batch, PatchGrid g, int64_t first,
                                                            int64_t columns, int64_t batch, T* out) {
  const int64_t entries = patch_entries(g), count = batch * entries * columns;
  for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += (int64_t)gridDim.x * blockDim.x) {
    const int64_t c = i % columns, e = i / columns % entries, b = i / (columns * entries);
    out[i] = data[b * data_batch + patch_offset(g, first + c) + entry_offset(g, e)];
  }
}

// out [batch, count] = row, for every item.
template <class T>
__global__ void __launch_bounds__(256) repeat_kernel(const T* row, int64_t count, int64_t batch, T* out) {
  for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < batch * count; i += (int64_t)gridDim.x * blockDim.x)
    out[i] = row[i % count];
}

template <class T>
__global__ void __launch_bounds__(256) add_kernel(const T* more, int64_t count, T* sum) {
  for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += (int64_t)gridDim.x * blockDim.x)
    sum[i] += more[i];
}

// Rows of `entries` values as a map of patches.
inline PatchMap rows_map(int64_t rows, int64_t entries, int64_t batch_stride) {
  return {{1, {1, 1, entries}, {1, 1, rows}, {0, 0, 0, 1}}, batch_stride};
}

template <class T, class Workspace, class Stream>
T* run_patch_columns(Workspace& memory, Stream stream, int64_t batch, const T* data, const PatchMap& map, int64_t first,
                     int64_t columns) {
  const PatchGrid g = map.grid;
  const int64_t stride = map.batch_stride, count = batch * patch_entries(g) * columns;
  T* out = memory.template get<T>(count);
  MS_LAUNCH((patch_columns_kernel<T>), dim3(blocks_for(count)), dim3(kThreads), stream, data, stride, g, first, columns, batch, out);
  return out;
}

// Slots first .. first + w: adds to dkeys, writes their rows of dqueries.
template <class T, class Workspace, class Stream>
void run_softmax_block(Workspace& memory, Stream stream, const ScoreSizes& s, int64_t first, int64_t w, T slope, T tau,
                       const T* grad, const PatchMap& gm, const T* x, const PatchMap& xm, const T* keys, const T* queries, T* dkeys,
                       T* dqueries) {
  const T* query_columns = run_patch_columns(memory, stream, s.batch, queries, rows_map(s.m, s.r, 0), first, w);
  const T* grad_columns = run_patch_columns(memory, stream, s.batch, grad, gm, first, w);
  T* scores = run_patch_product<T>(memory, stream, s.batch, keys, rows_map(s.n, s.r, s.n * s.r), query_columns, w);
  const T* uses = run_patch_product<T>(memory, stream, s.batch, x, xm, grad_columns, w);
  MS_LAUNCH((softmax_gradient_kernel<T>), dim3(clamp_grid(s.batch * w)), dim3(256), stream, scores, uses, s.batch, s.n, w, slope,
            tau, scores);
  T* rows = memory.template get<T>(s.batch * w * s.r);
  const T* block = queries + first * s.r;
  const int64_t row_count = w * s.r, key_count = s.batch * s.n * s.r, batch = s.batch;
  MS_LAUNCH((repeat_kernel<T>), dim3(blocks_for(batch * row_count)), dim3(kThreads), stream, block, row_count, batch, rows);
  const PatchMap gradient = rows_map(s.n, w, s.n * w);
  const T* more = run_patch_product<T>(memory, stream, s.batch, scores, gradient, rows, s.r);
  MS_LAUNCH((add_kernel<T>), dim3(blocks_for(key_count)), dim3(kThreads), stream, more, key_count, dkeys);
  const T* parts = run_patch_moments<T>(memory, stream, s.batch, scores, gradient, keys, s.n * s.r, s.r, s.r);
  T* target = dqueries + first * s.r;
  MS_LAUNCH((sum_splits_kernel<T>), dim3(blocks_for(row_count)), dim3(kThreads), stream, parts, batch, row_count, target);
}

// dkeys [batch, n, r] and dqueries [m, r]; fresh_workspace() gives scratch that is returned after every block.
template <class T, class Fresh, class Stream>
void run_softmax_score_gradient(const Fresh& fresh_workspace, Stream stream, const ScoreSizes& s, T slope, T tau, const T* grad,
                                const PatchMap& gm, const T* x, const PatchMap& xm, const T* keys, const T* queries, T* dkeys,
                                T* dqueries) {
  for (int64_t first = 0; first < s.m; first += kSlotBlock) {
    auto memory = fresh_workspace();
    if (first == 0) memory.fill(dkeys, 0, s.batch * s.n * s.r * (int64_t)sizeof(T));
    const int64_t w = s.m - first < kSlotBlock ? s.m - first : kSlotBlock;
    run_softmax_block<T>(memory, stream, s, first, w, slope, tau, grad, gm, x, xm, keys, queries, dkeys, dqueries);
  }
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
