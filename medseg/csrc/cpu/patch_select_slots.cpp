// medseg::patch_select_slots on the CPU: patch_select with unique patches, raster order and the softmax surrogate.
#include "../common/last_backend.h"
#include "patch_assign.h"
#include "patch_copy.h"
#include "patch_select.h"
#include "score_argmax.h"
#include "softmax_score_gradient.h"

namespace medseg::cpu {
namespace {

template <class T>
void assign_unique(const ScoreShape& s, const Tensor& keys, const Tensor& queries, Tensor& patch_of) {
  const T *h = keys.const_data_ptr<T>(), *w = queries.const_data_ptr<T>();
  int32_t* out = patch_of.mutable_data_ptr<int32_t>();
  torch::stable::parallel_for(0, s.batch, 1, [&](int64_t begin, int64_t end) {
    std::vector<int32_t> best(s.queries * kCandidates);
    std::vector<T> score(s.queries * kCandidates);
    for (int64_t b = begin; b < end; ++b) {
      find_candidates(h + b * s.keys * s.rank, w, s.keys, s.rank, s.queries, best.data(), score.data());
      assign_greedily(best.data(), score.data(), s.keys, s.queries, out + b * s.queries);
    }
  });
}

// Slot i holds the patch index[b, i] of query query[b, i].
void order_slots(const Tensor& patch_of, bool raster, Tensor& index, Tensor& query) {
  const int64_t m = index.size(1);
  const int32_t* from = patch_of.const_data_ptr<int32_t>();
  int32_t *at = index.mutable_data_ptr<int32_t>(), *who = query.mutable_data_ptr<int32_t>();
  for (int64_t b = 0; b < index.size(0); ++b) {
    if (raster) raster_order(from + b * m, m, who + b * m);
    for (int64_t i = 0; i < m; ++i) {
      if (!raster) who[b * m + i] = (int32_t)i;
      at[b * m + i] = from[b * m + who[b * m + i]];
    }
  }
}

TensorTriple patch_select_slots(const Tensor& x, const Tensor& keys_in, const Tensor& queries_in, int64_t patch, bool unique,
                                bool raster, int64_t /*surrogate*/, double /*slope*/, double /*tau*/, bool /*max_grad*/) {
  const char* op = "patch_select_slots";
  const ScoreShape s = check_patch_select(op, x, keys_in, queries_in, patch);
  const Tensor keys = torch::stable::contiguous(keys_in), queries = torch::stable::contiguous(queries_in);
  const auto indices = [&] { return torch::stable::new_empty(keys, {s.batch, s.queries}, ScalarType::Int); };
  Tensor patch_of = unique ? indices() : std::get<0>(score_argmax(keys, queries));
  if (unique) {
    if (keys.scalar_type() == ScalarType::Double) assign_unique<double>(s, keys, queries, patch_of);
    else assign_unique<float>(s, keys, queries, patch_of);
  }
  Tensor index = indices(), query = indices(), out = torch::stable::new_empty(x, halved_shape(x));
  order_slots(patch_of, raster, index, query);
  gather_any(x, patch, index, out);
  note_backend(op, backend_name(keys.scalar_type()));
  return {out, index, query};
}

// Slots back in the order of the queries: the patch of each query, and the slot that holds it.
void order_queries(const Tensor& index, const Tensor& query, Tensor& patch_of, Tensor& slot_of) {
  const int64_t m = index.size(1);
  const int32_t *at = index.const_data_ptr<int32_t>(), *who = query.const_data_ptr<int32_t>();
  int32_t *patch = patch_of.mutable_data_ptr<int32_t>(), *slot = slot_of.mutable_data_ptr<int32_t>();
  for (int64_t b = 0; b < index.size(0); ++b) {
    for (int64_t i = 0; i < m; ++i) slot[b * m + i] = -1;
    for (int64_t i = 0; i < m; ++i) {
      require(slot[b * m + who[b * m + i]] < 0, "patch_select_slots_backward", "query must hold every query once");
      slot[b * m + who[b * m + i]] = (int32_t)i;
      patch[b * m + who[b * m + i]] = at[b * m + i];
    }
  }
}

TensorTriple patch_select_slots_backward(const Tensor& grad_in, const Tensor& x_in, const Tensor& keys_in,
                                         const Tensor& queries_in, const Tensor& index_in, const Tensor& query_in,
                                         int64_t patch, int64_t surrogate, double slope, double tau, bool max_grad,
                                         bool need_x, bool need_scores) {
  const char* op = "patch_select_slots_backward";
  const ScoreShape s = check_patch_select(op, x_in, keys_in, queries_in, patch);
  check_halved_gradient(op, grad_in, x_in);
  check_surrogate(op, surrogate, tau);
  const Tensor index = torch::stable::contiguous(index_in), query = torch::stable::contiguous(query_in);
  check_index(op, index, s.batch, s.queries, s.keys);
  check_index(op, query, s.batch, s.queries, s.queries);
  Tensor patch_of = torch::stable::new_empty(index, full_shape(index)), slot_of = torch::stable::new_empty(index, full_shape(index));
  order_queries(index, query, patch_of, slot_of);
  Tensor grad = torch::stable::new_empty(grad_in, full_shape(grad_in));
  gather_any(grad_in, patch, slot_of, grad);
  const bool paper = surrogate == kSurrogatePaper, softmax = surrogate == kSurrogateSoftmax;
  auto [dx, dkeys, dqueries] = patch_select_backward(grad, x_in, keys_in, queries_in, patch_of, patch, slope, max_grad,
                                                     need_x, need_scores && paper);
  if (need_scores && !paper) {
    const ScalarType type = keys_in.scalar_type();
    const Tensor keys = torch::stable::contiguous(keys_in), queries = torch::stable::contiguous(queries_in);
    dkeys = torch::stable::new_zeros(keys, full_shape(keys));
    dqueries = torch::stable::new_zeros(queries, full_shape(queries));
    const Tensor g = as_type(grad, type), x = as_type(x_in, type);
    if (softmax && type == ScalarType::Double)
      softmax_score_gradient<double>(s, g, x, keys, queries, patch, slope, tau, dkeys, dqueries);
    else if (softmax)
      softmax_score_gradient<float>(s, g, x, keys, queries, patch, (float)slope, (float)tau, dkeys, dqueries);
  }
  note_backend(op, backend_name(keys_in.scalar_type()));
  return {dx, dkeys, dqueries};
}

}  // namespace
}  // namespace medseg::cpu

STABLE_TORCH_LIBRARY_FRAGMENT(medseg, m) {
  m.def("patch_select_slots(Tensor x, Tensor keys, Tensor queries, int patch, bool unique, bool raster, int surrogate, "
        "float slope, float tau, bool max_grad) -> (Tensor out, Tensor index, Tensor query)");
  m.def("patch_select_slots_backward(Tensor grad, Tensor x, Tensor keys, Tensor queries, Tensor index, Tensor query, "
        "int patch, int surrogate, float slope, float tau, bool max_grad, bool need_x, bool need_scores) -> "
        "(Tensor dx, Tensor dkeys, Tensor dqueries)");
}

STABLE_TORCH_LIBRARY_IMPL(medseg, CPU, m) {
  m.impl("patch_select_slots", TORCH_BOX(&medseg::cpu::patch_select_slots));
  m.impl("patch_select_slots_backward", TORCH_BOX(&medseg::cpu::patch_select_slots_backward));
}
