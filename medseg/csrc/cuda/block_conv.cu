// Launcher of medseg::block_conv and its backward pass.
#include "../common/last_backend.h"
#include "run_block_conv.cuh"
#include "tile_tensors.h"

namespace medseg::cuda {
namespace {

// A call with its parameters in the type of the arithmetic.
struct Held {
  BlockProblem problem;
  Tensor x, weight, index;
  bool zero_halo;

  template <class T>
  BlockConv<T> call() const {
    BlockConv<T> b{};
    b.sizes = {problem.grid, {problem.kernel[0], problem.kernel[1], problem.kernel[2]}, problem.in, problem.out};
    b.index = index.const_data_ptr<int32_t>();
    b.rows = index.numel();
    b.zero_halo = zero_halo;
    b.x = const_tile_view<T>(x, false);
    b.weight = weight.const_data_ptr<computed_t<T>>();
    return b;
  }
};

Held held(const char* op, const Tensor& x, const Tensor& weight, const Tensor& index, const std::vector<int64_t>& tile,
          const std::vector<int64_t>& grid, bool zero_halo) {
  const BlockProblem p = check_block_conv(op, x, weight, index, tile, grid);
  return {p, x, computed(weight, x.scalar_type()), torch::stable::contiguous(index), zero_halo};
}

void clear(const Place& place, Tensor& t) {
  STD_CUDA_CHECK(cudaMemsetAsync(t.data_ptr(), 0, t.numel() * (size_t)t.element_size(), place.stream));
}

// Tile numbers are not checked here, because that would need a host synchronisation: the kernels skip numbers out of range.
Tensor block_conv(const Tensor& x, const Tensor& weight, const std::optional<Tensor>& bias_in, const Tensor& index,
                  const std::vector<int64_t>& tile, bool zero_halo, bool packed, const std::vector<int64_t>& grid) {
  const char* op = "block_conv";
  const Place place(x);
  const Held h = held(op, x, weight, index, tile, grid, zero_halo);
  check_bias(op, bias_in, x, h.problem);
  const Tensor bias = bias_in ? computed(*bias_in, x.scalar_type()) : nothing(x, computed_type(x.scalar_type()));
  Tensor out = empty_map(x, block_shape(h.problem, index.numel(), packed), x.scalar_type(), is_channels_last(x));
  if (!packed) clear(place, out);
  Workspace memory(x, place.stream);
  for_type(x.scalar_type(), [&](auto zero) {
    using T = decltype(zero);
    const computed_t<T>* b = bias_in ? bias.const_data_ptr<computed_t<T>>() : nullptr;
    run_block_conv<T>(memory, place.stream, h.call<T>(), b, tile_view<T>(out, packed));
  });
  STD_CUDA_KERNEL_LAUNCH_CHECK();
  note_backend(op, "cuda");
  return out;
}

std::tuple<Tensor, Tensor, Tensor> block_conv_backward(const Tensor& grad, const Tensor& x, const Tensor& weight,
                                                       const Tensor& index, const std::vector<int64_t>& tile, bool zero_halo,
                                                       bool packed, bool need_x, bool need_weight, bool need_bias,
                                                       const std::vector<int64_t>& grid) {
  const char* op = "block_conv_backward";
  const Place place(x);
  const Held h = held(op, x, weight, index, tile, grid, zero_halo);
  check_block_gradient(op, grad, x, h.problem, index.numel(), packed);
  const ScalarType type = x.scalar_type(), wide = computed_type(type);
  Tensor dx = need_x ? empty_map(x, full_shape(x), type, is_channels_last(x)) : nothing(x, type);
  if (need_x && (zero_halo || index.numel() == 0)) clear(place, dx);
  Tensor dweight = need_weight ? torch::stable::new_empty(x, full_shape(weight), wide) : nothing(x, wide);
  Tensor dbias = need_bias ? torch::stable::new_empty(x, std::vector<int64_t>{h.problem.out}, wide) : nothing(x, wide);
  Workspace memory(x, place.stream);
  for_type(type, [&](auto zero) {
    using T = decltype(zero);
    using A = computed_t<T>;
    const TileView<T> to = need_x ? tile_view<T>(dx, false) : TileView<T>{nullptr, {}, false};
    run_block_conv_backward<T>(memory, place.stream, h.call<T>(), const_tile_view<T>(grad, packed), to,
                               need_weight ? dweight.mutable_data_ptr<A>() : nullptr, need_bias ? dbias.mutable_data_ptr<A>() : nullptr);
  });
  STD_CUDA_KERNEL_LAUNCH_CHECK();
  note_backend(op, "cuda");
  return {dx, as_type(dweight, type), as_type(dbias, type)};
}

}  // namespace
}  // namespace medseg::cuda

STABLE_TORCH_LIBRARY_IMPL(medseg, CUDA, m) {
  m.impl("block_conv", TORCH_BOX(&medseg::cuda::block_conv));
  m.impl("block_conv_backward", TORCH_BOX(&medseg::cuda::block_conv_backward));
}
