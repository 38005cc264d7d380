// One call of local_glcm: its windows, offsets and features, and the layout of the maps that it returns. Plain C++, for the CPU
// op and the CUDA kernels.
#pragma once
#include <cstdint>
#include <initializer_list>
#include <vector>

#include "codes.h"
#include "glcm_pair_sums.h"
#include "texture_shape.h"

namespace medseg {

constexpr GlcmFeature kLinear[kLinearFeatures] = {kFContrast,    kFDissimilarity, kFHomogeneity,
                                                  kFCorrelation, kFShade,         kFProminence};

// Places of the chosen features among the maps of one offset, -1 for those that are not chosen.
struct FeatureMaps {
  int64_t place[kFeatures], count = 0;
  bool linear = false, counted = false;

  explicit FeatureMaps(int64_t bits) {
    for (int f = 0; f < kFeatures; ++f) place[f] = bits >> f & 1 ? count++ : -1;
    for (const GlcmFeature f : kLinear) linear = linear || place[f] >= 0;
    for (const GlcmFeature f : {kFSecondMoment, kFEnergy, kFEntropy, kFLargest}) counted = counted || place[f] >= 0;
  }
};

struct GlcmProblem {
  TextureShape shape;
  std::vector<PairOffset> offsets;
  FeatureMaps maps;
  int64_t levels, groups;  // groups of feature maps per channel: one for each offset, or one for their mean

  // Feature maps of a channel, and the first one of an offset.
  int64_t stride() const { return groups * maps.count; }
  int64_t first(size_t offset) const { return groups == 1 ? 0 : (int64_t)offset * maps.count; }
};

}  // namespace medseg
