// Launchers of medseg::bspline_warp and its gradient.
#include "../common/last_backend.h"
#include "../common/warp_inputs.h"
#include "run_bspline_warp.cuh"
#include "workspace.h"

namespace medseg::cuda {
namespace {

using Floats = std::vector<double>;

WarpGrid grid_of(const WarpShape& s, const Floats& origin, const Floats& spacing) {
  WarpGrid g{{0, 0, 0}, {1, 1, 1}};
  for (int64_t i = 0; i < s.dims; ++i) {
    g.origin[3 - s.dims + i] = origin[i];
    g.spacing[3 - s.dims + i] = spacing[i];
  }
  return g;
}

template <class T, class U>
void nearest_into(const Place& place, const WarpShape& s, const WarpGrid& grid, const Tensor& x, const Tensor& control,
                  Tensor& out) {
  Workspace memory(control, place.stream);
  run_warp_nearest<T, U>(memory, place.stream, s, grid, static_cast<const U*>(x.data_ptr()), control.const_data_ptr<T>(),
                         static_cast<U*>(out.data_ptr()));
}

template <class T>
void warp_into(const Place& place, const WarpShape& s, const WarpGrid& grid, const Tensor& x, const Tensor& control, double fill,
               Tensor& out) {
  if (!s.nearest) {
    Workspace memory(control, place.stream);
    return run_warp_linear<T>(memory, place.stream, s, grid, x.const_data_ptr<T>(), control.const_data_ptr<T>(), (T)fill,
                              out.mutable_data_ptr<T>());
  }
  switch (x.element_size()) {
    case 1: return nearest_into<T, uint8_t>(place, s, grid, x, control, out);
    case 2: return nearest_into<T, uint16_t>(place, s, grid, x, control, out);
    case 4: return nearest_into<T, uint32_t>(place, s, grid, x, control, out);
    default: return nearest_into<T, uint64_t>(place, s, grid, x, control, out);
  }
}

Tensor bspline_warp(const Tensor& x_in, const Tensor& control_in, Floats origin, Floats spacing, bool nearest, bool border,
                    double fill) {
  const char* op = "bspline_warp";
  const ScalarType type = control_in.scalar_type();
  check_bspline_warp(op, x_in, control_in, origin, spacing, nearest, border);
  const Place place(x_in);
  const Tensor x = nearest ? x_in : as_type(x_in, type), control = torch::stable::contiguous(control_in);
  const WarpShape s = check_bspline_warp(op, x, control, origin, spacing, nearest, border);
  Tensor out = torch::stable::new_empty(x, full_shape(x));
  if (nearest && !border) torch::stable::fill_(out, fill);
  if (type == ScalarType::Double) warp_into<double>(place, s, grid_of(s, origin, spacing), x, control, fill, out);
  else warp_into<float>(place, s, grid_of(s, origin, spacing), x, control, fill, out);
  STD_CUDA_KERNEL_LAUNCH_CHECK();
  note_backend(op, "cuda");
  return nearest ? out : as_type(out, x_in.scalar_type());
}

template <class T>
void backward(const Place& place, const WarpShape& s, const WarpGrid& grid, const Tensor& grad, const Tensor& x,
              const Tensor& control, double fill, bool need_x, bool need_control, Tensor& dx, Tensor& dcontrol) {
  if (need_x) {
    Workspace memory(control, place.stream);
    run_warp_image_gradient<T>(memory, place.stream, s, grid, grad.const_data_ptr<T>(), control.const_data_ptr<T>(),
                               dx.mutable_data_ptr<T>());
  }
  if (need_control && !s.nearest) {
    Workspace memory(control, place.stream);
    run_warp_control_gradient<T>(memory, place.stream, s, grid, grad.const_data_ptr<T>(), x.const_data_ptr<T>(),
                                 control.const_data_ptr<T>(), (T)fill, dcontrol.mutable_data_ptr<T>());
  }
}

std::tuple<Tensor, Tensor> bspline_warp_backward(const Tensor& grad_in, const Tensor& x_in, const Tensor& control_in, Floats origin,
                                                 Floats spacing, bool nearest, bool border, double fill, bool need_x,
                                                 bool need_control) {
  const char* op = "bspline_warp_backward";
  const ScalarType type = control_in.scalar_type();
  require(full_shape(grad_in) == full_shape(x_in), op, "grad must have the shape of x");
  const Place place(x_in);
  const Tensor x = as_type(x_in, type), control = torch::stable::contiguous(control_in);
  const WarpShape s = check_bspline_warp(op, x, control, origin, spacing, nearest, border);
  const Tensor grad = torch::stable::contiguous(as_type(grad_in, type));
  Tensor dx = zeros_if(need_x, x), dcontrol = zeros_if(need_control, control);
  const WarpGrid grid = grid_of(s, origin, spacing);
  if (type == ScalarType::Double) backward<double>(place, s, grid, grad, x, control, fill, need_x, need_control, dx, dcontrol);
  else backward<float>(place, s, grid, grad, x, control, fill, need_x, need_control, dx, dcontrol);
  STD_CUDA_KERNEL_LAUNCH_CHECK();
  note_backend(op, "cuda");
  return {as_type(dx, x_in.scalar_type()), dcontrol};
}

}  // namespace
}  // namespace medseg::cuda

STABLE_TORCH_LIBRARY_IMPL(medseg, CUDA, m) {
  m.impl("bspline_warp", TORCH_BOX(&medseg::cuda::bspline_warp));
  m.impl("bspline_warp_backward", TORCH_BOX(&medseg::cuda::bspline_warp_backward));
}
