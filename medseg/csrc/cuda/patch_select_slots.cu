// Launcher of medseg::patch_select_slots and its backward pass.
#include "../common/last_backend.h"
#include "patch_tensors.h"
#include "run_patch_slots.cuh"

namespace medseg::cuda {
namespace {

template <class T>
void choose(const Place& place, const ScoreShape& shape, const Tensor& keys, const Tensor& queries, bool unique, Tensor& patch_of) {
  Workspace memory(keys, place.stream);
  const ScoreSizes s = score_sizes(shape);
  const T *h = keys.const_data_ptr<T>(), *w = queries.const_data_ptr<T>();
  int32_t* out = patch_of.mutable_data_ptr<int32_t>();
  if (unique) run_assign_patches<T>(memory, place.stream, s, h, w, out);
  else run_score_argmax<T>(memory, place.stream, s, h, w, out, memory.get<T>(s.batch * s.m));
}

std::tuple<Tensor, Tensor, Tensor> patch_select_slots(const Tensor& x, const Tensor& keys_in, const Tensor& queries_in,
                                                      int64_t patch, bool unique, bool raster, int64_t /*surrogate*/,
                                                      double /*slope*/, double /*tau*/, bool /*max_grad*/) {
  const char* op = "patch_select_slots";
  const ScoreShape s = check_patch_select(op, x, keys_in, queries_in, patch);
  check_voxels(op, full_shape(x));
  const Place place(x);
  const Tensor keys = torch::stable::contiguous(keys_in), queries = torch::stable::contiguous(queries_in);
  const auto indices = [&] { return torch::stable::new_empty(keys, {s.batch, s.queries}, ScalarType::Int); };
  Tensor patch_of = indices(), index = indices(), query = indices(), out = torch::stable::new_empty(x, halved_shape(x));
  if (s.batch > 0) {
    if (keys.scalar_type() == ScalarType::Double) choose<double>(place, s, keys, queries, unique, patch_of);
    else choose<float>(place, s, keys, queries, unique, patch_of);
    run_order_slots(place.stream, s.batch, s.queries, raster, patch_of.const_data_ptr<int32_t>(),
                    index.mutable_data_ptr<int32_t>(), query.mutable_data_ptr<int32_t>());
    gather_any(place.stream, x, patch, index, out);
    STD_CUDA_KERNEL_LAUNCH_CHECK();
  }
  note_backend(op, "cuda");
  return {out, index, query};
}

template <class T>
void run_backward(const Place& place, const ScoreShape& shape, const Tensor& grad, const Tensor& x, const Tensor& keys,
                  const Tensor& queries, const Tensor& patch_of, int64_t patch, int64_t surrogate, double slope, double tau,
                  bool max_grad, Tensor& dx, Tensor& dkeys, Tensor& dqueries) {
  Workspace memory(keys, place.stream);
  const ScoreSizes s = score_sizes(shape);
  const int32_t* at = patch_of.const_data_ptr<int32_t>();
  const SlotLists lists = run_link_slots(memory, place.stream, s, at);
  const PatchMap gm = patch_map(grad, patch), xm = patch_map(x, patch);
  const T *g = grad.const_data_ptr<T>(), *p = x.const_data_ptr<T>();
  const T *h = keys.const_data_ptr<T>(), *w = queries.const_data_ptr<T>();
  if (dx.numel() > 0) run_scatter_patches<T>(place.stream, s.batch, g, gm, xm.grid, lists, dx.mutable_data_ptr<T>());
  if (dkeys.numel() == 0 || surrogate == kSurrogateNone) return;
  T *dh = dkeys.mutable_data_ptr<T>(), *dw = dqueries.mutable_data_ptr<T>();
  if (surrogate == kSurrogatePaper)
    run_literal_score_gradient<T>(memory, place.stream, s, (T)slope, max_grad, g, gm, p, xm, h, w, at, lists, dh, dw);
  else
    run_softmax_score_gradient<T>([&] { return Workspace(keys, place.stream); }, place.stream, s, (T)slope, (T)tau, g, gm, p, xm,
                                  h, w, dh, dw);
}

std::tuple<Tensor, Tensor, Tensor> patch_select_slots_backward(const Tensor& grad_in, const Tensor& x_in, const Tensor& keys_in,
                                                               const Tensor& queries_in, const Tensor& index_in,
                                                               const Tensor& query_in, int64_t patch, int64_t surrogate,
                                                               double slope, double tau, bool max_grad, bool need_x,
                                                               bool need_scores) {
  const char* op = "patch_select_slots_backward";
  const ScoreShape s = check_patch_select(op, x_in, keys_in, queries_in, patch);
  check_halved_gradient(op, grad_in, x_in);
  check_voxels(op, full_shape(x_in));
  check_surrogate(op, surrogate, tau);
  check_index_shape(op, "index", index_in, s.batch, s.queries);
  check_index_shape(op, "query", query_in, s.batch, s.queries);
  const Place place(x_in);
  const ScalarType type = keys_in.scalar_type();
  const Tensor x = as_type(x_in, type), keys = torch::stable::contiguous(keys_in), queries = torch::stable::contiguous(queries_in);
  const Tensor index = torch::stable::contiguous(index_in), query = torch::stable::contiguous(query_in);
  Tensor dx = zeros_if(need_x, x), dkeys = zeros_if(need_scores, keys), dqueries = zeros_if(need_scores, queries);
  if (s.batch > 0 && x.size(1) > 0) {
    Tensor patch_of = torch::stable::new_empty(index, full_shape(index));
    Tensor slot_of = torch::stable::new_empty(index, full_shape(index));
    run_order_queries(place.stream, s.batch, s.queries, index.const_data_ptr<int32_t>(), query.const_data_ptr<int32_t>(),
                      patch_of.mutable_data_ptr<int32_t>(), slot_of.mutable_data_ptr<int32_t>());
    Tensor ordered = torch::stable::new_empty(grad_in, full_shape(grad_in));
    gather_any(place.stream, grad_in, patch, slot_of, ordered);
    const Tensor grad = as_type(ordered, type);
    const auto run = [&](auto zero) {
      run_backward<decltype(zero)>(place, s, grad, x, keys, queries, patch_of, patch, surrogate, slope, tau, max_grad, dx, dkeys,
                                   dqueries);
    };
    if (type == ScalarType::Double) run(0.0);
    else run(0.0f);
    STD_CUDA_KERNEL_LAUNCH_CHECK();
  }
  note_backend(op, "cuda");
  return {as_type(dx, x_in.scalar_type()), dkeys, dqueries};
}

}  // namespace
}  // namespace medseg::cuda

STABLE_TORCH_LIBRARY_IMPL(medseg, CUDA, m) {
  m.impl("patch_select_slots", TORCH_BOX(&medseg::cuda::patch_select_slots));
  m.impl("patch_select_slots_backward", TORCH_BOX(&medseg::cuda::patch_select_slots_backward));
}
