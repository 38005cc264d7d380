// Checks of the inputs of local_glcm (stable ABI; never included by a kernel).
#pragma once
#include "glcm_maps.h"
#include "texture_inputs.h"

namespace medseg {

inline GlcmProblem glcm_problem(const char* op, const Tensor& x, const std::optional<Tensor>& mask,
                                const std::vector<int64_t>& window, const std::vector<int64_t>& offsets, int64_t levels,
                                int64_t features, bool mean) {
  const TextureShape s = texture_shape(op, x, mask, window);
  require(levels >= 2 && levels <= kMaxLevels, op, "levels must be 2 to " + std::to_string(kMaxLevels));
  require(features > 0 && features < (1 << kFeatures), op, "features must name at least one");
  std::vector<PairOffset> pairs = pair_offsets(op, s, offsets);
  const int64_t groups = mean ? 1 : (int64_t)pairs.size();
  return {s, pairs, FeatureMaps(features), levels, groups};
}

}  // namespace medseg
