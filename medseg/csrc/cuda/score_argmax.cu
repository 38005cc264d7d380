// Launcher of medseg::score_argmax and its backward pass.
#include "../common/last_backend.h"
#include "patch_tensors.h"

namespace medseg::cuda {
namespace {

std::tuple<Tensor, Tensor> score_argmax(const Tensor& keys_in, const Tensor& queries_in) {
  const ScoreShape s = score_shape("score_argmax", keys_in, queries_in);
  const Place place(keys_in);
  const Tensor keys = torch::stable::contiguous(keys_in), queries = torch::stable::contiguous(queries_in);
  Tensor index = torch::stable::new_empty(keys, {s.batch, s.queries}, ScalarType::Int);
  Tensor score = torch::stable::new_empty(keys, {s.batch, s.queries});
  Workspace memory(keys, place.stream);
  const auto run = [&](auto zero) {
    using T = decltype(zero);
    run_score_argmax<T>(memory, place.stream, score_sizes(s), keys.const_data_ptr<T>(), queries.const_data_ptr<T>(),
                        index.mutable_data_ptr<int32_t>(), score.mutable_data_ptr<T>());
  };
  if (keys.scalar_type() == ScalarType::Double) run(0.0);
  else run(0.0f);
  STD_CUDA_KERNEL_LAUNCH_CHECK();
  note_backend("score_argmax", "cuda");
  return {index, score};
}

std::tuple<Tensor, Tensor> score_argmax_backward(const Tensor& grad_in, const Tensor& keys_in, const Tensor& queries_in,
                                                 const Tensor& index_in) {
  const char* op = "score_argmax_backward";
  const ScoreShape s = score_shape(op, keys_in, queries_in);
  check_score_gradient(op, grad_in, keys_in, s);
  check_index_shape(op, "index", index_in, s.batch, s.queries);
  const Place place(keys_in);
  const Tensor keys = torch::stable::contiguous(keys_in), queries = torch::stable::contiguous(queries_in);
  const Tensor grad = torch::stable::contiguous(grad_in), index = torch::stable::contiguous(index_in);
  Tensor dkeys = torch::stable::new_empty(keys, full_shape(keys)), dqueries = torch::stable::new_empty(queries, full_shape(queries));
  Workspace memory(keys, place.stream);
  const auto run = [&](auto zero) {
    using T = decltype(zero);
    run_score_argmax_backward<T>(memory, place.stream, score_sizes(s), grad.const_data_ptr<T>(), keys.const_data_ptr<T>(),
                                 queries.const_data_ptr<T>(), index.const_data_ptr<int32_t>(), dkeys.mutable_data_ptr<T>(),
                                 dqueries.mutable_data_ptr<T>());
  };
  if (keys.scalar_type() == ScalarType::Double) run(0.0);
  else run(0.0f);
  STD_CUDA_KERNEL_LAUNCH_CHECK();
  note_backend(op, "cuda");
  return {dkeys, dqueries};
}

}  // namespace
}  // namespace medseg::cuda

STABLE_TORCH_LIBRARY_IMPL(medseg, CUDA, m) {
  m.impl("score_argmax", TORCH_BOX(&medseg::cuda::score_argmax));
  m.impl("score_argmax_backward", TORCH_BOX(&medseg::cuda::score_argmax_backward));
}
