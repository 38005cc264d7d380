// Sequence of kernels behind score_argmax and its backward pass. Workspace gives device memory: get<T>(count) and
// fill(pointer, byte, bytes). The launchers use tensors for it, the emulation uses plain memory.
#pragma once
#include "score_argmax.cuh"
#include "slot_lists.cuh"

namespace medseg {

struct ScoreSizes {
  int64_t batch, n, m, r;
  bool shared;  // one set of queries for the batch
};

// Splitting the keys keeps a large GPU busy when queries are few. The result does not depend on it.
inline int64_t key_splits(const ScoreSizes& s) {
  const int64_t blocks = (s.m + kScoreTile - 1) / kScoreTile * s.batch;
  const int64_t useful = (s.n + 4 * kScoreTile - 1) / (4 * kScoreTile), wanted = (264 + blocks - 1) / blocks;
  return wanted < useful ? wanted : useful;
}

template <class T, class Workspace, class Stream>
void run_score_argmax(Workspace& memory, Stream stream, const ScoreSizes& s, const T* keys, const T* queries, int32_t* index,
                      T* score) {
  if (s.batch * s.m == 0) return;
  const int64_t splits = key_splits(s), tiles = (s.n + kScoreTile - 1) / kScoreTile;
  const int64_t length = (tiles + splits - 1) / splits * kScoreTile, used = (s.n + length - 1) / length;
  int32_t* split_index = used == 1 ? index : memory.template get<int32_t>(used * s.batch * s.m);
  T* split_score = used == 1 ? score : memory.template get<T>(used * s.batch * s.m);
  const dim3 grid((unsigned)((s.m + kScoreTile - 1) / kScoreTile), (unsigned)used, clamp_grid(s.batch));
  MS_LAUNCH((score_argmax_kernel<T>), grid, dim3(256), stream, keys, queries, s.batch, s.n, s.m, s.r,
            s.shared ? (int64_t)0 : s.m * s.r, length, split_index, split_score);
  if (used > 1)
    MS_LAUNCH((merge_splits_kernel<T>), dim3(blocks_for(s.batch * s.m)), dim3(kThreads), stream, split_index, split_score, used,
              s.batch * s.m, index, score);
}

struct SlotLists {
  int32_t *head, *next;
};

template <class Workspace, class Stream>
SlotLists run_link_slots(Workspace& memory, Stream stream, const ScoreSizes& s, const int32_t* index) {
  const SlotLists lists{memory.template get<int32_t>(s.batch * s.n), memory.template get<int32_t>(s.batch * s.m)};
  int32_t *head = lists.head, *next = lists.next;
  memory.fill(head, 0xff, s.batch * s.n * (int64_t)sizeof(int32_t));
  MS_LAUNCH((link_slots_kernel), dim3(clamp_grid(s.batch)), dim3(256), stream, index, s.batch, s.n, s.m, head, next);
  return lists;
}

template <class T, class Workspace, class Stream>
void run_score_argmax_backward(Workspace& memory, Stream stream, const ScoreSizes& s, const T* grad, const T* keys,
                               const T* queries, const int32_t* index, T* dkeys, T* dqueries) {
  if (s.batch * s.m == 0) {
    memory.fill(dkeys, 0, s.batch * s.n * s.r * (int64_t)sizeof(T));
    memory.fill(dqueries, 0, (s.shared ? 1 : s.batch) * s.m * s.r * (int64_t)sizeof(T));
    return;
  }
  const SlotLists lists = run_link_slots(memory, stream, s, index);
  const int32_t *head = lists.head, *next = lists.next;
  const T* none = nullptr;
  MS_LAUNCH((keys_gradient_kernel<T>), dim3(blocks_for(s.batch * s.n * s.r)), dim3(kThreads), stream, none, (T)0, grad,
            (int64_t)1, (T)1, queries, s.shared ? (int64_t)0 : s.m * s.r, head, next, s.batch, s.n, s.m, s.r, dkeys);
  const int64_t out_batches = s.shared ? 1 : s.batch;
  MS_LAUNCH((queries_gradient_kernel<T>), dim3(blocks_for(out_batches * s.m * s.r)), dim3(kThreads), stream, none, (int64_t)0,
            (T)0, grad, (int64_t)1, (T)1, keys, index, s.batch, out_batches, s.n, s.m, s.r, dqueries);
}

}  // namespace medseg
