// The optional mask of the texture ops, for their launchers.
#pragma once
#include <optional>

#include "../common/op_inputs.h"

namespace medseg::cuda {

// A contiguous mask and its address; null without a mask.
class Mask {
 public:
  explicit Mask(const std::optional<Tensor>& mask)
      : held_(mask ? std::optional<Tensor>(torch::stable::contiguous(*mask)) : std::nullopt) {}

  const bool* data() const { return held_ ? held_->const_data_ptr<bool>() : nullptr; }

 private:
  std::optional<Tensor> held_;
};

}  // namespace medseg::cuda
