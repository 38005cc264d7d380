// Options of one call of quadtree_conv. Plain C++, for the CPU op and the CUDA launcher.
#pragma once
#include "codes.h"

namespace medseg {

struct QuadtreeSettings {
  int64_t mode, activation, norm;  // QuadtreeMode, Activation, Norm
  double slope, eps;

  // Whether the sign of the convolution is kept as bits for the backward pass: where no saved map shows it.
  bool keeps_signs() const { return norm == kNoNorm && activation != kNoActivation && mode != kReplace; }
  double negative_slope() const { return activation == kLeakyRelu ? slope : 0.0; }
  // Groups of positions that are normalised together.
  int64_t groups(int64_t batch) const { return norm == kInstanceNorm ? batch : 1; }
};

}  // namespace medseg
