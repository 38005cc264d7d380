// Checks and shapes of the ops that move patches by an index, and of the selection by one score per patch (stable ABI).
#pragma once
#include "op_inputs.h"
#include "surrogate.h"

namespace medseg {

// A map x [B, C, *S] in the raster of its patches: x's patches, and the shape of a map of `grid` patches.
inline std::vector<int64_t> gathered_shape(const char* op, const Tensor& x, const Tensor& index, int64_t patch,
                                           const std::vector<int64_t>& grid, bool scatter) {
  require(x.dim() == 4 || x.dim() == 5, op, "x must be [B, C, H, W] or [B, C, D, H, W]");
  const ScalarType type = x.scalar_type();
  require(type == ScalarType::Double || type == ScalarType::Float || type == ScalarType::Half || type == ScalarType::BFloat16,
          op, "x must be float16, bfloat16, float32 or float64");
  require(patch >= 1 && (int64_t)grid.size() == x.dim() - 2, op, "patch must be at least 1 and grid have one entry an axis");
  std::vector<int64_t> shape{x.size(0), x.size(1)};
  int64_t own = 1, other = 1;
  for (int64_t i = 2; i < x.dim(); ++i) {
    require(x.size(i) > 0 && x.size(i) % patch == 0 && grid[i - 2] > 0, op, "every spatial size must be a multiple of patch");
    own *= x.size(i) / patch;
    other *= grid[i - 2];
    shape.push_back(grid[i - 2] * patch);
  }
  require(index.dim() == 2 && index.scalar_type() == ScalarType::Int && index.size(0) == x.size(0) &&
              index.size(1) == (scatter ? own : other), op, "index must be int32 [B, patches of the smaller map]");
  require(own <= std::numeric_limits<int32_t>::max() && other <= std::numeric_limits<int32_t>::max(), op, "too many patches");
  return shape;
}

struct SharedShape {
  int64_t batch, patches, slots;
};

// Everything patch_select_shared may assume of its inputs.
inline SharedShape check_patch_select_shared(const char* op, const Tensor& x, const Tensor& scores, int64_t patch) {
  require(x.dim() == 4 || x.dim() == 5, op, "x must be [B, C, H, W] or [B, C, D, H, W]");
  const ScalarType type = x.scalar_type(), score_type = scores.scalar_type();
  require(type == ScalarType::Float || type == ScalarType::Double || type == ScalarType::Half ||
              type == ScalarType::BFloat16, op, "x must be float16, bfloat16, float32 or float64");
  require(score_type == (type == ScalarType::Double ? ScalarType::Double : ScalarType::Float), op,
          "float64 x needs float64 scores, any other x float32 ones");
  require(patch >= 1, op, "patch must be at least 1");
  int64_t n = 1, m = 1;
  for (int64_t i = 2; i < x.dim(); ++i) {
    require(x.size(i) > 0 && x.size(i) % (2 * patch) == 0, op, "every spatial size must be a multiple of 2 * patch");
    n *= x.size(i) / patch;
    m *= x.size(i) / (2 * patch);
  }
  require(scores.dim() == 2 && scores.size(0) == x.size(0) && scores.size(1) == n, op, "scores must be [B, N]");
  require(n <= std::numeric_limits<int32_t>::max(), op, "more than 2^31 - 1 patches");
  return {x.size(0), n, m};
}

inline void check_halved_gradient(const char* op, const Tensor& grad, const Tensor& x) {
  require(grad.scalar_type() == x.scalar_type() && grad.dim() == x.dim(), op, "grad must match x");
  const std::vector<int64_t> expected = halved_shape(x);
  for (int64_t i = 0; i < x.dim(); ++i) require(grad.size(i) == expected[i], op, "grad must have the halved shape");
}

}  // namespace medseg
