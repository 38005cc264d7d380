// Launchers of medseg::local_histogram and its gradient. Rules: medseg/ops/local_histogram.py.
#include "../common/last_backend.h"
#include "../common/texture_inputs.h"
#include "contiguous_mask.h"
#include "run_local_histogram.cuh"
#include "workspace.h"

namespace medseg::cuda {
namespace {

template <class T>
void forward(const Place& place, const TextureShape& s, const Bins& bins, const Tensor& x, const Mask& mask, Tensor& out) {
  Workspace memory(x, place.stream);
  run_local_histogram<T>(memory, place.stream, s, bins, x.const_data_ptr<T>(), mask.data(), out.mutable_data_ptr<T>());
}

Tensor local_histogram(const Tensor& x_in, std::optional<Tensor> mask_in, std::vector<int64_t> window, int64_t count, double low,
                       double high, bool soft) {
  const char* op = "local_histogram";
  const TextureShape s = texture_shape(op, x_in, mask_in, window);
  const Bins bins = check_bins(op, count, low, high, soft);
  const Place place(x_in);
  const Tensor x = torch::stable::contiguous(x_in);
  const Mask mask(mask_in);
  std::vector<int64_t> shape = full_shape(x);
  shape[1] *= count;
  Tensor out = torch::stable::new_empty(x, shape);
  if (x.scalar_type() == ScalarType::Double) forward<double>(place, s, bins, x, mask, out);
  else forward<float>(place, s, bins, x, mask, out);
  STD_CUDA_KERNEL_LAUNCH_CHECK();
  note_backend(op, "cuda");
  return out;
}

template <class T>
void backward(const Place& place, const TextureShape& s, const Bins& bins, const Tensor& grad, const Tensor& x, const Mask& mask,
              Tensor& dx) {
  Workspace memory(x, place.stream);
  run_local_histogram_backward<T>(memory, place.stream, s, bins, grad.const_data_ptr<T>(), x.const_data_ptr<T>(), mask.data(),
                                  dx.mutable_data_ptr<T>());
}

Tensor local_histogram_backward(const Tensor& grad_in, const Tensor& x_in, std::optional<Tensor> mask_in,
                                std::vector<int64_t> window, int64_t count, double low, double high) {
  const char* op = "local_histogram_backward";
  const TextureShape s = texture_shape(op, x_in, mask_in, window);
  const Bins bins = check_bins(op, count, low, high, true);
  check_map_gradient(op, grad_in, x_in, count);
  const Place place(x_in);
  const Tensor x = torch::stable::contiguous(x_in), grad = torch::stable::contiguous(grad_in);
  const Mask mask(mask_in);
  Tensor dx = torch::stable::new_empty(x, full_shape(x));
  if (x.scalar_type() == ScalarType::Double) backward<double>(place, s, bins, grad, x, mask, dx);
  else backward<float>(place, s, bins, grad, x, mask, dx);
  STD_CUDA_KERNEL_LAUNCH_CHECK();
  note_backend(op, "cuda");
  return dx;
}

}  // namespace
}  // namespace medseg::cuda

STABLE_TORCH_LIBRARY_IMPL(medseg, CUDA, m) {
  m.impl("local_histogram", TORCH_BOX(&medseg::cuda::local_histogram));
  m.impl("local_histogram_backward", TORCH_BOX(&medseg::cuda::local_histogram_backward));
}
