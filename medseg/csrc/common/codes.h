// Numbers that Python and C++ must agree on: the codes of options that ops take as integers, and limits. CPU and CUDA code use
// this header, Python uses medseg/ops/_codes.py, and tests/ops/test_codes.py compares the two.
#pragma once
#include <cstdint>

namespace medseg {

// quadtree_conv: what a round does with its tiles.
enum QuadtreeMode : int64_t { kReplace = 0, kSum = 1, kParallel = 2 };

// quadtree_conv: what follows the convolution.
enum Activation : int64_t { kNoActivation = 0, kRelu = 1, kLeakyRelu = 2 };
enum Norm : int64_t { kNoNorm = 0, kBatchNorm = 1, kInstanceNorm = 2 };

// quadtree_plan: the variation of a block.
enum class Metric : int64_t { kGradientMax = 0, kGradientMean = 1, kVariance = 2, kRange = 3, kEntropy = 4 };

// patch_select_shared and patch_select_slots: how the scores are differentiated.
enum Surrogate : int64_t { kSurrogatePaper = 0, kSurrogateSoftmax = 1, kSurrogateNone = 2 };

// geodesic_distance: the cost of a step.
enum GeodesicCost : int64_t { kAdditive = 0, kHarmonic = 1 };

// local_glcm: the bit of each feature in the op's bit set, and the order of the maps in its result.
enum GlcmFeature {
  kFContrast = 0,
  kFDissimilarity = 1,
  kFHomogeneity = 2,
  kFSecondMoment = 3,
  kFEnergy = 4,
  kFEntropy = 5,
  kFCorrelation = 6,
  kFShade = 7,
  kFProminence = 8,
  kFLargest = 9
};
constexpr int kFeatures = 10;

constexpr int kMaxRounds = 8;            // quadtree_plan
constexpr int kEntropyBins = 32;         // quadtree_plan: bins of the histogram behind the entropy
constexpr int kCandidates = 32;          // patch_select_slots: best patches that a query may be given
constexpr int kMaxWindow = 32767;        // local_histogram, local_glcm: voxels of a window
constexpr int kMaxBins = 32767;          // local_histogram
constexpr int kMaxLevels = 1024;         // local_glcm

}  // namespace medseg
