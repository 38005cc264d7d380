// medseg::score_argmax on the CPU, for the ops that select patches by it.
#pragma once
#include "op_helpers.h"

namespace medseg::cpu {

TensorPair score_argmax(const Tensor& keys, const Tensor& queries);

}  // namespace medseg::cpu
