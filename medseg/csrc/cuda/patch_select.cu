// Launcher of medseg::patch_select and its backward pass.
#include "../common/last_backend.h"
#include "patch_tensors.h"

namespace medseg::cuda {
namespace {

std::tuple<Tensor, Tensor> patch_select(const Tensor& x, const Tensor& keys_in, const Tensor& queries_in, int64_t patch,
                                        double /*slope*/, bool /*max_grad*/) {
  const char* op = "patch_select";
  const ScoreShape s = check_patch_select(op, x, keys_in, queries_in, patch);
  check_voxels(op, full_shape(x));
  const Place place(x);
  const Tensor keys = torch::stable::contiguous(keys_in), queries = torch::stable::contiguous(queries_in);
  Tensor index = torch::stable::new_empty(keys, {s.batch, s.queries}, ScalarType::Int);
  Tensor score = torch::stable::new_empty(keys, {s.batch, s.queries});
  Tensor out = torch::stable::new_empty(x, halved_shape(x));
  Workspace memory(keys, place.stream);
  const auto score_of = [&](auto zero) {
    using T = decltype(zero);
    run_score_argmax<T>(memory, place.stream, score_sizes(s), keys.const_data_ptr<T>(), queries.const_data_ptr<T>(),
                        index.mutable_data_ptr<int32_t>(), score.mutable_data_ptr<T>());
  };
  if (keys.scalar_type() == ScalarType::Double) score_of(0.0);
  else score_of(0.0f);
  gather_any(place.stream, x, patch, index, out);
  STD_CUDA_KERNEL_LAUNCH_CHECK();
  note_backend(op, "cuda");
  return {out, index};
}

template <class T>
void run_backward(const Place& place, const ScoreShape& s, const Tensor& grad, const Tensor& x, const Tensor& keys,
                  const Tensor& queries, const Tensor& index, int64_t patch, double slope, bool max_grad, bool need_x,
                  bool need_scores, Tensor& dx, Tensor& dkeys, Tensor& dqueries) {
  Workspace memory(keys, place.stream);
  const int32_t* at = index.const_data_ptr<int32_t>();
  const SlotLists lists = run_link_slots(memory, place.stream, score_sizes(s), at);
  const PatchMap gm = patch_map(grad, patch), xm = patch_map(x, patch);
  if (need_x)
    run_scatter_patches<T>(place.stream, s.batch, grad.const_data_ptr<T>(), gm, xm.grid, lists, dx.mutable_data_ptr<T>());
  if (need_scores)
    run_literal_score_gradient<T>(memory, place.stream, score_sizes(s), (T)slope, max_grad, grad.const_data_ptr<T>(), gm,
                                  x.const_data_ptr<T>(), xm, keys.const_data_ptr<T>(), queries.const_data_ptr<T>(), at, lists,
                                  dkeys.mutable_data_ptr<T>(), dqueries.mutable_data_ptr<T>());
}

std::tuple<Tensor, Tensor, Tensor> patch_select_backward(const Tensor& grad_in, const Tensor& x_in, const Tensor& keys_in,
                                                         const Tensor& queries_in, const Tensor& index_in, int64_t patch,
                                                         double slope, bool max_grad, bool need_x, bool need_scores) {
  const char* op = "patch_select_backward";
  const ScoreShape s = check_patch_select(op, x_in, keys_in, queries_in, patch);
  check_voxels(op, full_shape(x_in));
  check_halved_gradient(op, grad_in, x_in);
  check_index_shape(op, "index", index_in, s.batch, s.queries);
  const Place place(x_in);
  const ScalarType type = keys_in.scalar_type();
  const Tensor grad = as_type(grad_in, type), x = as_type(x_in, type), index = torch::stable::contiguous(index_in);
  const Tensor keys = torch::stable::contiguous(keys_in), queries = torch::stable::contiguous(queries_in);
  Tensor dx = zeros_if(need_x, x), dkeys = zeros_if(need_scores, keys), dqueries = zeros_if(need_scores, queries);
  if (s.batch > 0 && x.size(1) > 0) {
    const auto run = [&](auto zero) {
      run_backward<decltype(zero)>(place, s, grad, x, keys, queries, index, patch, slope, max_grad, need_x, need_scores, dx,
                                   dkeys, dqueries);
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
  m.impl("patch_select", TORCH_BOX(&medseg::cuda::patch_select));
  m.impl("patch_select_backward", TORCH_BOX(&medseg::cuda::patch_select_backward));
}
