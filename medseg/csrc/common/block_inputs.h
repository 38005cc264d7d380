// Checks and shapes of the block op inputs, for the CPU ops and the CUDA launchers (stable ABI; never included by a kernel).
#pragma once
#include "block_grid.h"
#include "op_inputs.h"

namespace medseg {

struct BlockProblem {
  BlockGrid grid;
  int64_t dims, in, out;           // spatial axes, channels
  int64_t kernel[3], halo[3];      // along z, y, x; 1 and 0 along z in 2-D
  int64_t taps() const { return kernel[0] * kernel[1] * kernel[2]; }
};

// The raster of tiles over a map of x's size. An empty `grid` means the smallest number of tiles that covers the map.
inline BlockGrid block_grid(const char* op, const Tensor& x, const std::vector<int64_t>& tile,
                            const std::vector<int64_t>& grid) {
  require_map(op, x);
  const int64_t dims = x.dim() - 2;
  require((int64_t)tile.size() == dims, op, "tile must have one side per spatial axis");
  require(grid.empty() || (int64_t)grid.size() == dims, op, "grid must have one number per spatial axis");
  BlockGrid g{x.size(0), {1, 1, 1}, {1, 1, 1}, {1, 1, 1}};
  for (int64_t i = 0; i < dims; ++i) {
    const int64_t axis = 3 - dims + i;
    g.size[axis] = x.size(2 + i);
    require(g.size[axis] > 0, op, "every spatial size must be at least 1");
    require(tile[i] >= 1, op, "tile must be at least 1 along every axis");
    g.tile[axis] = tile[i];
    const int64_t least = (g.size[axis] + tile[i] - 1) / tile[i];
    g.grid[axis] = grid.empty() ? least : grid[i];
    require(g.grid[axis] >= least, op, "grid * tile must cover x along every axis");
  }
  require(g.batch * tiles_per_item(g) <= std::numeric_limits<int32_t>::max(), op, "more than 2^31 - 1 tiles");
  return g;
}

inline BlockProblem check_block_conv(const char* op, const Tensor& x, const Tensor& weight, const Tensor& index,
                                     const std::vector<int64_t>& tile, const std::vector<int64_t>& grid) {
  BlockProblem p{block_grid(op, x, tile, grid), x.dim() - 2, x.size(1), weight.size(0), {1, 1, 1}, {0, 0, 0}};
  require_floating(op, x);
  require(weight.scalar_type() == x.scalar_type(), op, "x and weight must have the same dtype");
  require(weight.dim() == x.dim() && weight.size(1) == p.in, op, "weight must be [Co, Ci, k, ...] with the channels of x");
  require(p.in > 0 && p.out > 0, op, "there must be at least one input and one output channel");
  const int64_t k = weight.size(2);
  for (int64_t i = 0; i < p.dims; ++i) {
    require(weight.size(2 + i) == k && (k == 1 || k == 3 || k == 5), op, "weight must have one kernel size of 1, 3 or 5");
    p.kernel[3 - p.dims + i] = k;
    p.halo[3 - p.dims + i] = k / 2;
  }
  require(index.scalar_type() == ScalarType::Int && index.dim() == 1, op, "index must be int32 [A]");
  return p;
}

// Shape of packed tiles [A, Co, *tile] or of the map [B, Co, *S].
inline std::vector<int64_t> block_shape(const BlockProblem& p, int64_t tiles, bool packed) {
  std::vector<int64_t> shape{packed ? tiles : p.grid.batch, p.out};
  for (int64_t axis = 3 - p.dims; axis < 3; ++axis) shape.push_back(packed ? p.grid.tile[axis] : p.grid.size[axis]);
  return shape;
}

inline void check_bias(const char* op, const std::optional<Tensor>& bias, const Tensor& x, const BlockProblem& p) {
  require(!bias || (bias->dim() == 1 && bias->size(0) == p.out && bias->scalar_type() == x.scalar_type()), op,
          "bias must be [Co] in the dtype of x");
}

// The gradient of the result: packed tiles or the map, as the forward pass returned it.
inline void check_block_gradient(const char* op, const Tensor& grad, const Tensor& x, const BlockProblem& p, int64_t tiles,
                                 bool packed) {
  require(grad.scalar_type() == x.scalar_type() && grad.dim() == x.dim(), op, "grad must have the dtype and rank of x");
  require(full_shape(grad) == block_shape(p, tiles, packed), op, "grad must have the shape of the output");
}

// Whether the channel is the innermost axis of x. Maps and tiles made from such an x are channels-last too.
inline bool is_channels_last(const Tensor& x) { return x.size(1) > 1 && x.stride(1) == 1; }

inline Tensor empty_map(const Tensor& like, const std::vector<int64_t>& shape, ScalarType type, bool channels_last) {
  using torch::headeronly::MemoryFormat;
  const MemoryFormat format = !channels_last       ? MemoryFormat::Contiguous
                              : shape.size() == 4 ? MemoryFormat::ChannelsLast
                                                  : MemoryFormat::ChannelsLast3d;
  return torch::stable::empty(shape, type, std::nullopt, like.device(), std::nullopt, format);
}

}  // namespace medseg
