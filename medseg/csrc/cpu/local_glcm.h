// What the forward and backward pass of local_glcm share: the features, their order and the layout of the maps.
#pragma once
#include "glcm_counts.h"

namespace medseg::cpu {

// Order of the features in the op's bit set and in its result.
enum Feature {
  kFContrast, kFDissimilarity, kFHomogeneity, kFSecondMoment, kFEnergy, kFEntropy, kFCorrelation, kFShade, kFProminence,
  kFLargest, kFeatures
};
constexpr Feature kLinear[kLinearFeatures] = {kFContrast, kFDissimilarity, kFHomogeneity, kFCorrelation, kFShade, kFProminence};

// Places of the chosen features among the maps of one offset, -1 for those that are not chosen.
struct FeatureMaps {
  int64_t place[kFeatures], count = 0;
  bool linear = false, counted = false;

  explicit FeatureMaps(int64_t bits) {
    for (int f = 0; f < kFeatures; ++f) place[f] = bits >> f & 1 ? count++ : -1;
    for (const Feature f : kLinear) linear = linear || place[f] >= 0;
    for (const Feature f : {kFSecondMoment, kFEnergy, kFEntropy, kFLargest}) counted = counted || place[f] >= 0;
  }
};

struct GlcmProblem {
  TextureShape shape;
  std::vector<PairOffset> offsets;
  FeatureMaps maps;
  int64_t levels, groups;  // groups of feature maps per channel: one for each offset, or one for their mean
};

inline GlcmProblem glcm_problem(const char* op, const Tensor& x, const std::optional<Tensor>& mask,
                                const std::vector<int64_t>& window, const std::vector<int64_t>& offsets, int64_t levels,
                                int64_t features, bool mean) {
  const TextureShape s = texture_shape(op, x, mask, window);
  require(levels >= 2 && levels <= 1024, op, "levels must be 2 to 1024");
  require(features > 0 && features < (1 << kFeatures), op, "features must name at least one");
  std::vector<PairOffset> pairs = pair_offsets(op, s, offsets);
  const int64_t groups = mean ? 1 : (int64_t)pairs.size();
  return {s, pairs, FeatureMaps(features), levels, groups};
}

}  // namespace medseg::cpu
