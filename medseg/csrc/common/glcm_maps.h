// The features of local_glcm, their order and the layout of the maps.
#pragma once
#include <cstdint>
#include <initializer_list>

#include "glcm_pair_sums.h"

namespace medseg {

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

}  // namespace medseg
