// local_glcm: the sums over the pairs of a window, and the features that are functions of these sums. Only enumerations, because
// files that are compiled for one instruction set include this one (see cpu/isa.h).
#pragma once

namespace medseg {

// With d = a - b and t = a + b of a pair (a, b): the number of pairs, |d|, d^2, 1 / (1 + d^2), and the powers of t.
enum PairSum { kPairs, kAbsolute, kSquare, kInverse, kT1, kT2, kT3, kT4, kPairSums };

enum LinearFeature { kContrast, kDissimilarity, kHomogeneity, kCorrelation, kShade, kProminence, kLinearFeatures };

}  // namespace medseg
