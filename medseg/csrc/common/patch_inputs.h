// Checks and shapes of the ops that score, select and move patches, for the CPU ops and the CUDA launchers (stable ABI; never
// included by a kernel).
#pragma once
#include "codes.h"
#include "op_inputs.h"
#include "patch_grid.h"

namespace medseg {

struct ScoreShape {
  int64_t batch, keys, queries, rank;
  bool shared;  // one set of queries for the whole batch
};

inline ScoreShape score_shape(const char* op, const Tensor& keys, const Tensor& queries) {
  require_float32_or_64(op, "keys", keys);
  require(queries.scalar_type() == keys.scalar_type(), op, "keys and queries must have the same dtype");
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

inline void check_score_gradient(const char* op, const Tensor& grad, const Tensor& keys, const ScoreShape& s) {
  require(grad.dim() == 2 && grad.size(0) == s.batch && grad.size(1) == s.queries &&
              grad.scalar_type() == keys.scalar_type(), op, "grad must be [B, M] in the dtype of keys");
}

// The shape of an index; its values are checked on the CPU only, because reading them would wait for the device.
inline void check_index_shape(const char* op, const char* name, const Tensor& index, int64_t batch, int64_t queries) {
  require(index.dim() == 2 && index.size(0) == batch && index.size(1) == queries && index.scalar_type() == ScalarType::Int,
          op, std::string(name) + " must be int32 [B, M]");
}

inline void check_surrogate(const char* op, int64_t surrogate, double tau) {
  require(surrogate >= kSurrogatePaper && surrogate <= kSurrogateNone && tau > 0, op,
          "surrogate must be 0, 1 or 2 and tau positive");
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

// Patches of a map, and places for patches in the map of half its size.
struct PatchCounts {
  int64_t patches, slots;
};

inline PatchCounts check_halved_map(const char* op, const Tensor& x, int64_t patch) {
  require_map(op, x);
  require_floating(op, x);
  require(patch >= 1, op, "patch must be at least 1");
  PatchCounts n{1, 1};
  for (int64_t i = 2; i < x.dim(); ++i) {
    require(x.size(i) > 0 && x.size(i) % (2 * patch) == 0, op, "every spatial size must be a multiple of 2 * patch");
    n.patches *= x.size(i) / patch;
    n.slots *= x.size(i) / (2 * patch);
  }
  return n;
}

// Everything patch_select may assume of its inputs.
inline ScoreShape check_patch_select(const char* op, const Tensor& x, const Tensor& keys, const Tensor& queries,
                                     int64_t patch) {
  const ScoreShape s = score_shape(op, keys, queries);
  require(s.shared, op, "queries must be [M, r]");
  const PatchCounts n = check_halved_map(op, x, patch);
  require((x.scalar_type() == ScalarType::Double) == (keys.scalar_type() == ScalarType::Double), op,
          "float64 x needs float64 keys and queries, any other x float32 ones");
  require(x.size(0) == s.batch && s.keys == n.patches && s.queries == n.slots, op,
          "keys must be [B, N, r] and queries [M, r] with N patches and M = N / 2^d slots");
  return s;
}

struct SharedShape {
  int64_t batch, patches, slots;
};

// Everything patch_select_shared may assume of its inputs.
inline SharedShape check_patch_select_shared(const char* op, const Tensor& x, const Tensor& scores, int64_t patch) {
  const PatchCounts n = check_halved_map(op, x, patch);
  require(scores.scalar_type() == (x.scalar_type() == ScalarType::Double ? ScalarType::Double : ScalarType::Float), op,
          "float64 x needs float64 scores, any other x float32 ones");
  require(scores.dim() == 2 && scores.size(0) == x.size(0) && scores.size(1) == n.patches, op, "scores must be [B, N]");
  require(n.patches <= std::numeric_limits<int32_t>::max(), op, "more than 2^31 - 1 patches");
  return {x.size(0), n.patches, n.slots};
}

inline void check_halved_gradient(const char* op, const Tensor& grad, const Tensor& x) {
  require(grad.scalar_type() == x.scalar_type() && grad.dim() == x.dim(), op, "grad must match x");
  const std::vector<int64_t> expected = halved_shape(x);
  for (int64_t i = 0; i < x.dim(); ++i) require(grad.size(i) == expected[i], op, "grad must have the halved shape");
}

// Checks x [B, C, *S], the index and the grid of patch_gather (scatter: of patch_scatter). Returns the shape of the result, a map
// of `grid` patches.
inline std::vector<int64_t> gathered_shape(const char* op, const Tensor& x, const Tensor& index, int64_t patch,
                                           const std::vector<int64_t>& grid, bool scatter) {
  require_map(op, x);
  require_floating(op, x);
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

}  // namespace medseg
