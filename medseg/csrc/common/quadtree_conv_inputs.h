// Checks of the arguments of quadtree_conv that hold on the CPU and on CUDA (stable ABI; never included by a kernel).
#pragma once
#include "block_inputs.h"
#include "quadtree_settings.h"

namespace medseg {

// The arguments that the forward and the backward pass share. bias, scale and shift may be empty.
struct QuadtreeInputs {
  const Tensor &x, &weight;
  const std::optional<Tensor>&bias, &scale, &shift;
  const Tensor &index, &count, &explore;
  const std::vector<int64_t>&tile, &rows;
  QuadtreeSettings settings;
};

inline void check_quadtree_settings(const char* op, const QuadtreeSettings& s) {
  require(s.mode >= kReplace && s.mode <= kParallel && s.activation >= kNoActivation && s.activation <= kLeakyRelu &&
              s.norm >= kNoNorm && s.norm <= kInstanceNorm, op, "mode, activation and norm must be 0, 1 or 2");
  require(s.slope >= 0, op, "slope must be at least 0");
}

inline void check_quadtree_lists(const char* op, const QuadtreeInputs& in, int64_t rounds) {
  for (const Tensor* list : {&in.index, &in.explore})
    require(list->dim() == 2 && list->size(0) == rounds && list->scalar_type() == ScalarType::Int, op,
            "index and explore must be int32 [R, tiles]");
  require((int64_t)in.rows.size() == rounds, op, "rows must have one number per round");
  int64_t sum = 0;
  for (const int64_t n : in.rows) {
    require(n >= 0, op, "rows must not be negative");
    sum += n;
  }
  require(sum <= std::numeric_limits<int32_t>::max() - 1, op, "more than 2^31 - 2 rows in the store");
}

// Returns the raster of tiles over x.
inline BlockGrid check_quadtree_conv(const char* op, const QuadtreeInputs& in) {
  const BlockGrid grid = block_grid(op, in.x, in.tile, {});
  const int64_t channels = in.x.size(1), dims = in.x.dim() - 2;
  const Tensor& w = in.weight;
  require(channels > 0, op, "x is empty");
  require(w.dim() == dims + 3 && w.size(0) >= 1 && w.size(1) == channels && w.size(2) == channels, op,
          "weight must be [R, C, C, k, ...] with the channels of x");
  const int64_t k = w.size(3), rounds = w.size(0);
  for (int64_t i = 0; i < dims; ++i)
    require(w.size(3 + i) == k && (k == 1 || k == 3 || k == 5), op, "weight must have one kernel size of 1, 3 or 5");
  for (const auto* p : {&in.bias, &in.scale, &in.shift})
    require(!p->has_value() || ((*p)->dim() == 2 && (*p)->size(0) == rounds && (*p)->size(1) == channels), op,
            "bias, scale and shift must be [R, C]");
  check_quadtree_lists(op, in, rounds);
  check_quadtree_settings(op, in.settings);
  return grid;
}

}  // namespace medseg
