// Checks and shapes of local_histogram and local_glcm: windows and offsets on maps of two or three axes (stable ABI).
#pragma once
#include <cmath>

#include "codes.h"
#include "op_inputs.h"
#include "texture_shape.h"

namespace medseg {

inline TextureShape texture_shape(const char* op, const Tensor& x, const std::optional<Tensor>& mask,
                                  const std::vector<int64_t>& window) {
  require_map(op, x);
  require_float32_or_64(op, "x", x);
  TextureShape s{x.size(0) * x.size(1), x.dim() - 2, {1, 1, 1}, {0, 0, 0}};
  require((int64_t)window.size() == s.dims, op, "window must have one entry an axis");
  int64_t voxels = 1;
  for (int64_t i = 0; i < s.dims; ++i) {
    require(window[i] >= 1 && window[i] % 2 == 1 && window[i] <= kMaxWindow, op, "every side of the window must be odd");
    s.size[3 - s.dims + i] = x.size(2 + i);
    s.radius[3 - s.dims + i] = window[i] / 2;
    voxels *= window[i];
    require(voxels <= kMaxWindow, op, "the window must have at most " + std::to_string(kMaxWindow) + " voxels");
  }
  if (mask) {
    require(mask->scalar_type() == ScalarType::Bool && mask->dim() == x.dim(), op, "mask must be bool of the shape of x");
    for (int64_t i = 0; i < x.dim(); ++i) require(mask->size(i) == x.size(i), op, "mask must be bool of the shape of x");
  }
  return s;
}

inline std::vector<PairOffset> pair_offsets(const char* op, const TextureShape& s, const std::vector<int64_t>& flat) {
  require(!flat.empty() && (int64_t)flat.size() % s.dims == 0, op, "offsets must be one step an axis for every offset");
  std::vector<PairOffset> offsets(flat.size() / s.dims, PairOffset{{0, 0, 0}});
  for (size_t i = 0; i < offsets.size(); ++i) {
    bool moves = false;
    for (int64_t axis = 0; axis < s.dims; ++axis) {
      const int64_t step = flat[i * s.dims + axis], at = 3 - s.dims + axis;
      require(std::abs(step) <= 2 * s.radius[at], op, "every offset must be shorter than the window");
      offsets[i].step[at] = step;
      moves = moves || step != 0;
    }
    require(moves, op, "an offset must not be zero");
  }
  return offsets;
}

inline Bins check_bins(const char* op, int64_t count, double low, double high, bool soft) {
  require(count >= (soft ? 2 : 1) && count <= kMaxBins, op, "bins must be 1 (soft: 2) to " + std::to_string(kMaxBins));
  require(low < high && std::isfinite(high - low), op, "low must be below high");
  return {count, low, high, soft};
}

// grad: the gradient of `maps` maps for every channel of x.
inline void check_map_gradient(const char* op, const Tensor& grad, const Tensor& x, int64_t maps) {
  bool fits = grad.dim() == x.dim() && grad.scalar_type() == x.scalar_type() && grad.size(0) == x.size(0) &&
              grad.size(1) == maps * x.size(1);
  for (int64_t i = 2; fits && i < x.dim(); ++i) fits = grad.size(i) == x.size(i);
  require(fits, op, "grad must have the shape and dtype of the maps");
}

}  // namespace medseg
