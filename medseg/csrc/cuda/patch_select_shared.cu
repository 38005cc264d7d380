// Launcher of medseg::patch_select_shared and its backward pass.
#include "../common/last_backend.h"
#include "patch_tensors.h"
#include "run_patch_shared.cuh"

namespace medseg::cuda {
namespace {

std::tuple<Tensor, Tensor> patch_select_shared(const Tensor& x, const Tensor& scores_in, int64_t patch, int64_t /*surrogate*/,
                                               double /*slope*/, double /*tau*/, bool /*max_grad*/) {
  const char* op = "patch_select_shared";
  const SharedShape s = check_patch_select_shared(op, x, scores_in, patch);
  check_voxels(op, full_shape(x));
  const Place place(x);
  const Tensor scores = torch::stable::contiguous(scores_in);
  Tensor index = torch::stable::new_empty(scores, {s.batch, s.slots}, ScalarType::Int);
  Tensor out = torch::stable::new_empty(x, halved_shape(x));
  int32_t* at = index.mutable_data_ptr<int32_t>();
  if (scores.scalar_type() == ScalarType::Double)
    run_best_patches<double>(place.stream, s.batch, s.patches, s.slots, scores.const_data_ptr<double>(), at);
  else
    run_best_patches<float>(place.stream, s.batch, s.patches, s.slots, scores.const_data_ptr<float>(), at);
  gather_any(place.stream, x, patch, index, out);
  STD_CUDA_KERNEL_LAUNCH_CHECK();
  note_backend(op, "cuda");
  return {out, index};
}

template <class T>
void run_backward(const Place& place, const SharedShape& shape, const Tensor& grad, const Tensor& x, const Tensor& scores,
                  const Tensor& index, int64_t patch, int64_t surrogate, double slope, double tau, bool max_grad, Tensor& dx,
                  Tensor& dscores) {
  Workspace memory(scores, place.stream);
  const ScoreSizes s{shape.batch, shape.patches, shape.slots, 1, true};
  const int32_t* at = index.const_data_ptr<int32_t>();
  const SlotLists lists = run_link_slots(memory, place.stream, s, at);
  const PatchMap gm = patch_map(grad, patch), xm = patch_map(x, patch);
  if (dx.numel() > 0)
    run_scatter_patches<T>(place.stream, s.batch, grad.const_data_ptr<T>(), gm, xm.grid, lists, dx.mutable_data_ptr<T>());
  if (dscores.numel() > 0 && surrogate != kSurrogateNone)
    run_shared_score_gradient<T>(memory, place.stream, s, surrogate, (T)slope, (T)tau, max_grad, grad.const_data_ptr<T>(), gm,
                                 x.const_data_ptr<T>(), xm, scores.const_data_ptr<T>(), at, lists,
                                 dscores.mutable_data_ptr<T>());
}

std::tuple<Tensor, Tensor> patch_select_shared_backward(const Tensor& grad_in, const Tensor& x_in, const Tensor& scores_in,
                                                        const Tensor& index_in, int64_t patch, int64_t surrogate, double slope,
                                                        double tau, bool max_grad, bool need_x, bool need_scores) {
  const char* op = "patch_select_shared_backward";
  const SharedShape s = check_patch_select_shared(op, x_in, scores_in, patch);
  check_halved_gradient(op, grad_in, x_in);
  check_voxels(op, full_shape(x_in));
  check_surrogate(op, surrogate, tau);
  check_index_shape(op, "index", index_in, s.batch, s.slots);
  const Place place(x_in);
  const ScalarType type = scores_in.scalar_type();
  const Tensor grad = as_type(grad_in, type), x = as_type(x_in, type);
  const Tensor scores = torch::stable::contiguous(scores_in), index = torch::stable::contiguous(index_in);
  Tensor dx = zeros_if(need_x, x), dscores = zeros_if(need_scores, scores);
  if (s.batch > 0 && x.size(1) > 0) {
    if (type == ScalarType::Double)
      run_backward<double>(place, s, grad, x, scores, index, patch, surrogate, slope, tau, max_grad, dx, dscores);
    else
      run_backward<float>(place, s, grad, x, scores, index, patch, surrogate, slope, tau, max_grad, dx, dscores);
    STD_CUDA_KERNEL_LAUNCH_CHECK();
  }
  note_backend(op, "cuda");
  return {as_type(dx, x_in.scalar_type()), dscores};
}

}  // namespace
}  // namespace medseg::cuda

STABLE_TORCH_LIBRARY_IMPL(medseg, CUDA, m) {
  m.impl("patch_select_shared", TORCH_BOX(&medseg::cuda::patch_select_shared));
  m.impl("patch_select_shared_backward", TORCH_BOX(&medseg::cuda::patch_select_shared_backward));
}
