// Launcher of medseg::quadtree_conv and its backward pass.
#include "../common/last_backend.h"
#include "run_quadtree_conv.cuh"
#include "tile_tensors.h"

namespace medseg::cuda {
namespace {

using MaybeTensor = std::optional<Tensor>;

// The arguments that forward and backward share.
struct Arguments {
  const Tensor &x, &weight;
  const MaybeTensor &bias, &scale, &shift;
  const Tensor &index, &explore;
  const std::vector<int64_t> &tile, &rows;
  int64_t mode, activation;
  double slope;
  int64_t norm;
  double eps;
};

// Parameters and lists as the kernels want them: contiguous, in the type of the arithmetic.
struct Held {
  Arguments given;
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
  int64_t groups() const { return given.norm == 2 ? given.x.size(0) : 1; }
  bool keeps_signs() const { return given.norm == 0 && given.activation != 0 && given.mode != kReplace; }

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
    q.mode = given.mode;
    q.activation = given.activation;
    q.norm = given.norm;
    q.slope = given.slope;
    q.eps = given.eps;
    q.x = const_tile_view<T>(given.x, false);
    q.weight = weight.const_data_ptr<computed_t<T>>();
    q.bias = parameter(given.bias, bias);
    q.scale = parameter(given.scale, scale);
    q.shift = parameter(given.shift, shift);
    return q;
  }
};

void check_lists(const char* op, const Arguments& a) {
  const int64_t rounds = a.weight.size(0);
  for (const Tensor* list : {&a.index, &a.explore})
    require(list->scalar_type() == ScalarType::Int && list->dim() == 2 && list->size(0) == rounds, op,
            "index and explore must be int32 with one row per round");
  require((int64_t)a.rows.size() == rounds, op, "rows must have one number per round");
  int64_t sum = 0;
  for (int64_t n : a.rows) {
    require(n >= 0, op, "rows must not be negative");
    sum += n;
  }
  require(sum <= std::numeric_limits<int32_t>::max() - 1, op, "more than 2^31 - 2 rows in the store");
  require(a.mode >= 0 && a.mode <= 2 && a.activation >= 0 && a.activation <= 2 && a.norm >= 0 && a.norm <= 2, op,
          "mode, activation and norm must be 0, 1 or 2");
  require(a.slope >= 0, op, "slope must be at least 0");
}

Held held(const char* op, const Arguments& a) {
  const BlockGrid grid = block_grid(op, a.x, a.tile, {});
  require(block_dtype(a.x.scalar_type()), op, "x must be float16, bfloat16, float32 or float64");
  const int64_t channels = a.x.size(1), dims = a.x.dim() - 2;
  require(channels > 0 && a.x.size(0) > 0, op, "x must not be empty");
  require(a.weight.dim() == dims + 3 && a.weight.size(0) > 0 && a.weight.size(1) == channels && a.weight.size(2) == channels, op,
          "weight must be [R, C, C, k, ...] with the channels of x");
  const int64_t k = a.weight.size(3);
  for (int64_t i = 0; i < dims; ++i)
    require(a.weight.size(3 + i) == k && (k == 1 || k == 3 || k == 5), op, "weight must have one kernel size of 1, 3 or 5");
  check_lists(op, a);
  const ScalarType type = a.x.scalar_type();
  const auto parameter = [&](const MaybeTensor& p) {
    require(!p || (p->dim() == 2 && p->size(0) == a.weight.size(0) && p->size(1) == channels), op,
            "bias, scale and shift must be [R, C]");
    return p ? computed(*p, type) : nothing(a.x, computed_type(type));
  };
  require(a.norm != 0 || (!a.scale && !a.shift), op, "scale and shift need a norm");
  return {a,
          grid,
          computed(a.weight, type),
          parameter(a.bias),
          parameter(a.scale),
          parameter(a.shift),
          torch::stable::contiguous(a.index),
          torch::stable::contiguous(a.explore)};
}

// Channels-last if x is and cannot be taken for contiguous, else contiguous.
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
  if (h.given.norm != 0) s.pre = static_cast<T*>(pre.data_ptr());
  if (h.keeps_signs()) s.signs = static_cast<uint8_t*>(pre.data_ptr());
  if (h.given.norm != 0) s.stats = static_cast<computed_t<T>*>(stats.data_ptr());
  return s;
}

std::tuple<Tensor, Tensor, Tensor, Tensor> quadtree_conv(const Tensor& x, const Tensor& weight, const MaybeTensor& bias,
                                                         const MaybeTensor& scale, const MaybeTensor& shift,
                                                         const MaybeTensor& /*gate*/, const Tensor& index, const Tensor& /*count*/,
                                                         const Tensor& explore, const std::vector<int64_t>& tile,
                                                         const std::vector<int64_t>& rows, int64_t mode, int64_t activation,
                                                         double slope, int64_t norm, double eps) {
  const char* op = "quadtree_conv";
  const Place place(x);
  const Held h = held(op, {x, weight, bias, scale, shift, index, explore, tile, rows, mode, activation, slope, norm, eps});
  const ScalarType type = x.scalar_type(), wide = computed_type(type);
  Tensor out = empty_map(x, full_shape(x), type, answers_channels_last(x));
  const std::vector<int64_t> shape = h.row_shape();
  Tensor store = torch::stable::new_empty(x, shape, type);
  Tensor pre = nothing(x, type), stats = nothing(x, wide);
  if (norm != 0) {
    pre = torch::stable::new_empty(x, shape, type);
    stats = torch::stable::new_empty(x, std::vector<int64_t>{weight.size(0), h.groups(), 2, x.size(1)}, wide);
  } else if (h.keeps_signs()) {
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

// A parameter's gradient in its own dtype; empty, in the dtype of weight, if there is no such parameter or no need.
Tensor parameter_gradient(const Tensor& d, const MaybeTensor& parameter, const Tensor& weight, bool wanted) {
  if (!parameter || !wanted) return nothing(weight, weight.scalar_type());
  return torch::stable::contiguous(as_type(d, parameter->scalar_type()));
}

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor> quadtree_conv_backward(
    const Tensor& grad, const Tensor& x, const Tensor& weight, const MaybeTensor& bias, const MaybeTensor& scale,
    const MaybeTensor& shift, const Tensor& index, const Tensor& /*count*/, const Tensor& explore, const Tensor& store_in,
    const Tensor& pre_in, const Tensor& stats_in, const std::vector<int64_t>& tile, const std::vector<int64_t>& rows, int64_t mode,
    int64_t activation, double slope, int64_t norm, double eps, bool need_x, bool need_weight, bool need_gate) {
  const char* op = "quadtree_conv_backward";
  const Place place(x);
  const Held h = held(op, {x, weight, bias, scale, shift, index, explore, tile, rows, mode, activation, slope, norm, eps});
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
  Tensor dnorm = reserve(need_weight && norm != 0, {rounds, 2, channels});
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
