// Checks and shapes of the op inputs, for the CPU ops and the CUDA launchers (stable ABI; never included by a kernel).
// Python checks first, with fuller sentences; these keep a direct torch.ops call from reading out of bounds.
#pragma once
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>

#include <limits>
#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

#include "patch_grid.h"

namespace medseg {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

inline void require(bool condition, const char* op, const std::string& text) {
  if (!condition) throw std::runtime_error(std::string(op) + ": " + text);
}

struct ScoreShape {
  int64_t batch, keys, queries, rank;
  bool shared;  // one set of queries for the whole batch
};

inline ScoreShape score_shape(const char* op, const Tensor& keys, const Tensor& queries) {
  const ScalarType type = keys.scalar_type();
  require(type == ScalarType::Float || type == ScalarType::Double, op, "keys must be float32 or float64");
  require(queries.scalar_type() == type, op, "keys and queries must have the same dtype");
  require(keys.dim() == 3, op, "keys must be [B, N, r]");
  require(queries.dim() == 2 || queries.dim() == 3, op, "queries must be [M, r] or [B, M, r]");
  const bool shared = queries.dim() == 2;
  const ScoreShape s{keys.size(0), keys.size(1), queries.size(shared ? 0 : 1), keys.size(2), shared};
  require(shared || queries.size(0) == s.batch, op, "queries and keys differ in batch size");
  require(queries.size(shared ? 1 : 2) == s.rank && s.rank > 0, op, "keys and queries must share a rank r >= 1");
  require(s.keys > 0, op, "there is no key to choose");
  require(s.keys <= std::numeric_limits<int32_t>::max(), op, "more than 2^31 - 1 keys");
  return s;
}

// Grid of patches of side `patch` on x [B, C, *S]; batch b starts at b * x.stride(0).
inline PatchGrid patch_grid(const Tensor& x, int64_t patch) {
  const int64_t dims = x.dim() - 2;
  PatchGrid g{x.size(1), {1, 1, 1}, {1, 1, 1}, {x.stride(1), 0, 0, 0}};
  for (int64_t i = 0; i < dims; ++i) {
    const int64_t axis = 3 - dims + i;
    g.side[axis] = patch;
    g.grid[axis] = x.size(2 + i) / patch;
    g.stride[1 + axis] = x.stride(2 + i);
  }
  return g;
}

inline std::vector<int64_t> halved_shape(const Tensor& x) {
  std::vector<int64_t> shape{x.size(0), x.size(1)};
  for (int64_t i = 2; i < x.dim(); ++i) shape.push_back(x.size(i) / 2);
  return shape;
}

inline std::vector<int64_t> full_shape(const Tensor& x) {
  std::vector<int64_t> shape;
  for (int64_t i = 0; i < x.dim(); ++i) shape.push_back(x.size(i));
  return shape;
}

// Everything patch_select may assume of its inputs.
inline ScoreShape check_patch_select(const char* op, const Tensor& x, const Tensor& keys, const Tensor& queries,
                                     int64_t patch) {
  const ScoreShape s = score_shape(op, keys, queries);
  require(s.shared, op, "queries must be [M, r]");
  require(x.dim() == 4 || x.dim() == 5, op, "x must be [B, C, H, W] or [B, C, D, H, W]");
  const ScalarType type = x.scalar_type();
  require(type == ScalarType::Float || type == ScalarType::Double || type == ScalarType::Half ||
              type == ScalarType::BFloat16, op, "x must be float16, bfloat16, float32 or float64");
  require((type == ScalarType::Double) == (keys.scalar_type() == ScalarType::Double), op,
          "float64 x needs float64 keys and queries, any other x float32 ones");
  require(patch >= 1, op, "patch must be at least 1");
  int64_t n = 1, m = 1;
  for (int64_t i = 2; i < x.dim(); ++i) {
    require(x.size(i) > 0 && x.size(i) % (2 * patch) == 0, op, "every spatial size must be a multiple of 2 * patch");
    n *= x.size(i) / patch;
    m *= x.size(i) / (2 * patch);
  }
  require(x.size(0) == s.batch && s.keys == n && s.queries == m, op,
          "keys must be [B, N, r] and queries [M, r] with N patches and M = N / 2^d slots");
  return s;
}

// float16 and bfloat16 gradients are summed in float32.
inline Tensor as_type(const Tensor& t, ScalarType type) {
  return t.scalar_type() == type ? t : torch::stable::to(t, type);
}

}  // namespace medseg
