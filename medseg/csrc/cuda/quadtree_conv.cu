// Launcher of medseg::quadtree_conv and its backward pass.
#include "../common/last_backend.h"
#include "../common/quadtree_conv_inputs.h"
#include "run_quadtree_conv.cuh"
#include "tile_tensors.h"

namespace medseg::cuda {
namespace {

using MaybeTensor = std::optional<Tensor>;

// Parameters and lists as the kernels need them: contiguous, parameters in the type of the arithmetic.
struct Held {
  QuadtreeInputs given;
  BlockGrid grid;
  Tensor weight, bias, scale, shift, index, explore;

  int64_t store_rows() const {
    int64_t sum = 0;
    for (int64_t n : given.rows) sum += n;
    return sum;
  }
  std::vector<int64_t> row_shape() const {
    std::vector<int64_t> shape{store_rows()};
    for (int64_t side : given.tile) shape.push_back(side);
    shape.push_back(given.x.size(1));
    return shape;
  }

  template <class T>
  QuadtreeConv<T> call() const {
    const auto parameter = [](const MaybeTensor& there, const Tensor& values) {
      return there ? values.const_data_ptr<computed_t<T>>() : nullptr;
    };
    QuadtreeConv<T> q{};
    q.sizes = {grid, {1, 1, 1}, given.x.size(1), given.x.size(1)};
    for (int64_t i = 0; i < given.x.dim() - 2; ++i) q.sizes.kernel[5 - given.x.dim() + i] = weight.size(3 + i);
    q.index = index.const_data_ptr<int32_t>();
    q.explore = explore.const_data_ptr<int32_t>();
    q.width = index.size(1);
    q.explore_width = explore.size(1);
    q.rows = given.rows;
    q.settings = given.settings;
    q.x = const_tile_view<T>(given.x, false);
    q.weight = weight.const_data_ptr<computed_t<T>>();
    q.bias = parameter(given.bias, bias);
    q.scale = parameter(given.scale, scale);
    q.shift = parameter(given.shift, shift);
    return q;
  }
};

Held held(const char* op, const QuadtreeInputs& a) {
  const BlockGrid grid = check_quadtree_conv(op, a);
  const ScalarType type = a.x.scalar_type();
  require_floating(op, a.x);
  require(a.x.size(0) > 0, op, "x is empty");
  require(a.settings.norm != kNoNorm || (!a.scale && !a.shift), op, "scale and shift need a norm");
  const auto parameter = [&](const MaybeTensor& p) { return p ? computed(*p, type) : nothing(a.x, computed_type(type)); };
  return {a,
          grid,
          computed(a.weight, type),
          parameter(a.bias),
          parameter(a.scale),
          parameter(a.shift),
          torch::stable::contiguous(a.index),
          torch::stable::contiguous(a.explore)};
}

// Whether results are channels-last: if x is channels-last and not contiguous as well.
bool answers_channels_last(const Tensor& x) {
  int64_t dense = 1, last = x.size(1);
  bool contiguous = true, channels_last = x.stride(1) == 1 || x.size(1) == 1;
  for (int64_t i = x.dim() - 1; i >= 0; --i) {
    contiguous = contiguous && (x.size(i) == 1 || x.stride(i) == dense);
    dense *= x.size(i);
    if (i == 1) continue;
    channels_last = channels_last && (x.size(i) == 1 || x.stride(i) == last);
    last *= x.size(i);
  }
  return channels_last && !contiguous;
}

template <class T>
QuadtreeState<T> state_of(const Tensor& store, const Tensor& pre, const Tensor& stats, const Held& h) {
  QuadtreeState<T> s{static_cast<T*>(store.data_ptr()), nullptr, nullptr, nullptr};
  if (h.given.settings.norm != kNoNorm) s.pre = static_cast<T*>(pre.data_ptr());
  if (h.given.settings.keeps_signs()) s.signs = static_cast<uint8_t*>(pre.data_ptr());
  if (h.given.settings.norm != kNoNorm) s.stats = static_cast<computed_t<T>*>(stats.data_ptr());
  return s;
}

std::tuple<Tensor, Tensor, Tensor, Tensor> quadtree_conv(const Tensor& x, const Tensor& weight, const MaybeTensor& bias,
                                                         const MaybeTensor& scale, const MaybeTensor& shift,
                                                         const MaybeTensor& /*gate*/, const Tensor& index, const Tensor& count,
                                                         const Tensor& explore, const std::vector<int64_t>& tile,
                                                         const std::vector<int64_t>& rows, int64_t mode, int64_t activation,
                                                         double slope, int64_t norm, double eps) {
  const char* op = "quadtree_conv";
  const Place place(x);
  const QuadtreeSettings settings{mode, activation, norm, slope, eps};
  const Held h = held(op, {x, weight, bias, scale, shift, index, count, explore, tile, rows, settings});
  const ScalarType type = x.scalar_type(), wide = computed_type(type);
  Tensor out = empty_map(x, full_shape(x), type, answers_channels_last(x));
  const std::vector<int64_t> shape = h.row_shape();
  Tensor store = torch::stable::new_empty(x, shape, type);
  Tensor pre = nothing(x, type), stats = nothing(x, wide);
  if (norm != kNoNorm) {
    pre = torch::stable::new_empty(x, shape, type);
    stats = torch::stable::new_empty(x, std::vector<int64_t>{weight.size(0), h.given.settings.groups(x.size(0)), 2, x.size(1)}, wide);
  } else if (h.given.settings.keeps_signs()) {
    const std::vector<int64_t> bits{shape[0], (tile_volume(h.grid) * x.size(1) + 7) / 8};
    pre = torch::stable::new_empty(x, bits, ScalarType::Byte);
  }
  Workspace memory(x, place.stream);
  for_type(type, [&](auto zero) {
    using T = decltype(zero);
    run_quadtree_conv<T>(memory, place.stream, h.call<T>(), state_of<T>(store, pre, stats, h), tile_view<T>(out, false));
  });
  STD_CUDA_KERNEL_LAUNCH_CHECK();
  note_backend(op, "cuda");
  return {out, store, pre, stats};
}

// The gradient of a parameter in its own dtype; empty, in the dtype of weight, if the parameter is absent or the gradient is not
// wanted.
Tensor parameter_gradient(const Tensor& d, const MaybeTensor& parameter, const Tensor& weight, bool wanted) {
  if (!parameter || !wanted) return nothing(weight, weight.scalar_type());
  return torch::stable::contiguous(as_type(d, parameter->scalar_type()));
}

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor> quadtree_conv_backward(
    const Tensor& grad, const Tensor& x, const Tensor& weight, const MaybeTensor& bias, const MaybeTensor& scale,
    const MaybeTensor& shift, const Tensor& index, const Tensor& count, const Tensor& explore, const Tensor& store_in,
    const Tensor& pre_in, const Tensor& stats_in, const std::vector<int64_t>& tile, const std::vector<int64_t>& rows, int64_t mode,
    int64_t activation, double slope, int64_t norm, double eps, bool need_x, bool need_weight, bool need_gate) {
  const char* op = "quadtree_conv_backward";
  const Place place(x);
  const QuadtreeSettings settings{mode, activation, norm, slope, eps};
  const Held h = held(op, {x, weight, bias, scale, shift, index, count, explore, tile, rows, settings});
  require(grad.dim() == x.dim() && grad.numel() == x.numel(), op, "grad must have the shape of x");
  const Tensor store = torch::stable::contiguous(store_in), pre = torch::stable::contiguous(pre_in);
  const Tensor stats = torch::stable::contiguous(stats_in);
  const ScalarType type = x.scalar_type(), wide = computed_type(type);
  const int64_t rounds = weight.size(0), channels = x.size(1);
  Tensor read = empty_map(x, full_shape(x), wide, answers_channels_last(x));
  read = torch::stable::copy_(read, grad);
  Tensor write = read;
  if (mode == kParallel) {
    write = empty_map(x, full_shape(x), wide, answers_channels_last(x));
    write = torch::stable::copy_(write, grad);
  }
  const auto reserve = [&](bool wanted, const std::vector<int64_t>& shape) {
    return wanted ? torch::stable::new_empty(x, shape, wide) : nothing(x, wide);
  };
  Tensor dweight = reserve(need_weight, full_shape(weight)), dbias = reserve(need_weight && bias, {rounds, channels});
  Tensor dnorm = reserve(need_weight && norm != kNoNorm, {rounds, 2, channels});
  Tensor dgate = reserve(need_gate, {rounds, h.grid.batch * tiles_per_item(h.grid)});
  Workspace memory(x, place.stream);
  for_type(type, [&](auto zero) {
    using T = decltype(zero);
    const auto values = [](Tensor& t) { return t.numel() == 0 ? nullptr : t.mutable_data_ptr<computed_t<T>>(); };
    run_quadtree_conv_backward<T>(memory, place.stream, h.call<T>(), state_of<T>(store, pre, stats, h),
                                  tile_view<computed_t<T>>(read, false), tile_view<computed_t<T>>(write, false),
                                  {need_x, values(dweight), values(dbias), values(dnorm), values(dgate)});
  });
  STD_CUDA_KERNEL_LAUNCH_CHECK();
  note_backend(op, "cuda");
  const auto norm_part = [&](int64_t which) { return dnorm.numel() == 0 ? dnorm : torch::stable::select(dnorm, 1, which); };
  return {need_x ? as_type(write, type) : nothing(x, type),
          parameter_gradient(dweight, weight, weight, need_weight),
          parameter_gradient(dbias, bias, weight, need_weight),
          parameter_gradient(norm_part(1), scale, weight, need_weight),
          parameter_gradient(norm_part(0), shift, weight, need_weight),
          dgate};
}

}  // namespace
}  // namespace medseg::cuda

STABLE_TORCH_LIBRARY_IMPL(medseg, CUDA, m) {
  m.impl("quadtree_conv", TORCH_BOX(&medseg::cuda::quadtree_conv));
  m.impl("quadtree_conv_backward", TORCH_BOX(&medseg::cuda::quadtree_conv_backward));
}
