// The gradient of medseg::patch_select on the CPU, which is part of the gradient of medseg::patch_select_slots.
#pragma once
#include "op_helpers.h"

namespace medseg::cpu {

TensorTriple patch_select_backward(const Tensor& grad, const Tensor& x, const Tensor& keys, const Tensor& queries,
                                   const Tensor& index, int64_t patch, double slope, bool max_grad, bool need_x,
                                   bool need_scores);

}  // namespace medseg::cpu
