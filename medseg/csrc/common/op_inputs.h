// What the checks of all ops use: errors, dtypes and shapes, for the CPU ops and the CUDA launchers (stable ABI; never included
// by a kernel). Python checks first and gives longer messages; the checks in C++ keep a direct call of torch.ops from reading
// outside of a tensor.
#pragma once
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>

#include <limits>
#include <optional>
#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

namespace medseg {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

inline void require(bool condition, const char* op, const std::string& text) {
  if (!condition) throw std::runtime_error(std::string(op) + ": " + text);
}

inline void require_map(const char* op, const Tensor& x) {
  require(x.dim() == 4 || x.dim() == 5, op, "x must be [B, C, H, W] or [B, C, D, H, W]");
}

inline bool is_floating(ScalarType type) {
  return type == ScalarType::Float || type == ScalarType::Double || type == ScalarType::Half || type == ScalarType::BFloat16;
}

inline void require_floating(const char* op, const Tensor& x) {
  require(is_floating(x.scalar_type()), op, "x must be float16, bfloat16, float32 or float64");
}

inline void require_float32_or_64(const char* op, const char* name, const Tensor& t) {
  require(t.scalar_type() == ScalarType::Float || t.scalar_type() == ScalarType::Double, op,
          std::string(name) + " must be float32 or float64");
}

inline std::vector<int64_t> full_shape(const Tensor& x) {
  std::vector<int64_t> shape;
  for (int64_t i = 0; i < x.dim(); ++i) shape.push_back(x.size(i));
  return shape;
}

// Zeros in the shape of a tensor, or an empty tensor if they are not wanted.
inline Tensor zeros_if(bool wanted, const Tensor& like) {
  return torch::stable::new_zeros(like, wanted ? full_shape(like) : std::vector<int64_t>{0});
}

// float16 and bfloat16 gradients are summed in float32.
inline Tensor as_type(const Tensor& t, ScalarType type) {
  return t.scalar_type() == type ? t : torch::stable::to(t, type);
}

}  // namespace medseg
