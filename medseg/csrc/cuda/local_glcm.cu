// Launchers of medseg::local_glcm and its gradient. Rules: medseg/ops/local_glcm.py.
#include "../common/glcm_inputs.h"
#include "../common/last_backend.h"
#include "contiguous_mask.h"
#include "run_local_glcm.cuh"
#include "workspace.h"

namespace medseg::cuda {
namespace {

template <class T>
void forward(const Place& place, const GlcmProblem& g, const Tensor& x, const Mask& mask, Tensor& out) {
  Workspace memory(x, place.stream);
  run_local_glcm<T>(memory, place.stream, g, x.const_data_ptr<T>(), mask.data(), out.mutable_data_ptr<T>());
}

Tensor local_glcm(const Tensor& x_in, std::optional<Tensor> mask_in, std::vector<int64_t> window, std::vector<int64_t> offsets,
                  int64_t levels, int64_t features, bool mean) {
  const char* op = "local_glcm";
  const GlcmProblem g = glcm_problem(op, x_in, mask_in, window, offsets, levels, features, mean);
  const Place place(x_in);
  const Tensor x = torch::stable::contiguous(x_in);
  const Mask mask(mask_in);
  std::vector<int64_t> shape = full_shape(x);
  shape[1] *= g.stride();
  Tensor out = torch::stable::new_empty(x, shape);
  if (x.scalar_type() == ScalarType::Double) forward<double>(place, g, x, mask, out);
  else forward<float>(place, g, x, mask, out);
  STD_CUDA_KERNEL_LAUNCH_CHECK();
  note_backend(op, "cuda");
  return out;
}

template <class T>
void backward(const Place& place, const GlcmProblem& g, const Tensor& grad, const Tensor& x, const Mask& mask, Tensor& dx) {
  Workspace memory(x, place.stream);
  run_local_glcm_backward<T>(memory, place.stream, g, grad.const_data_ptr<T>(), x.const_data_ptr<T>(), mask.data(),
                             dx.mutable_data_ptr<T>());
}

Tensor local_glcm_backward(const Tensor& grad_in, const Tensor& x_in, std::optional<Tensor> mask_in, std::vector<int64_t> window,
                           std::vector<int64_t> offsets, int64_t levels, int64_t features, bool mean) {
  const char* op = "local_glcm_backward";
  const GlcmProblem g = glcm_problem(op, x_in, mask_in, window, offsets, levels, features, mean);
  check_map_gradient(op, grad_in, x_in, g.stride());
  const Place place(x_in);
  const Tensor x = torch::stable::contiguous(x_in), grad = torch::stable::contiguous(grad_in);
  const Mask mask(mask_in);
  Tensor dx = torch::stable::new_empty(x, full_shape(x));
  if (x.scalar_type() == ScalarType::Double) backward<double>(place, g, grad, x, mask, dx);
  else backward<float>(place, g, grad, x, mask, dx);
  STD_CUDA_KERNEL_LAUNCH_CHECK();
  note_backend(op, "cuda");
  return dx;
}

}  // namespace
}  // namespace medseg::cuda

STABLE_TORCH_LIBRARY_IMPL(medseg, CUDA, m) {
  m.impl("local_glcm", TORCH_BOX(&medseg::cuda::local_glcm));
  m.impl("local_glcm_backward", TORCH_BOX(&medseg::cuda::local_glcm_backward));
}
