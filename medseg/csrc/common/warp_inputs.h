// Checks of the inputs of bspline_warp, and its shape (stable ABI; never included by a kernel).
#pragma once
#include <cmath>

#include "op_inputs.h"
#include "warp_axis.h"

namespace medseg {

inline WarpShape check_bspline_warp(const char* op, const Tensor& x, const Tensor& control, const std::vector<double>& origin,
                                    const std::vector<double>& spacing, bool nearest, bool border) {
  require_map(op, x);
  const int64_t d = x.dim() - 2;
  const ScalarType type = x.scalar_type(), arithmetic = control.scalar_type();
  require_float32_or_64(op, "control", control);
  const bool half = type == ScalarType::Half || type == ScalarType::BFloat16;
  require(nearest || type == arithmetic || (half && arithmetic == ScalarType::Float), op,
          "x must have the dtype of control, or half precision with float32 control");
  require(control.dim() == d + 2 && control.size(1) == d && (control.size(0) == 1 || control.size(0) == x.size(0)), op,
          "control must be [B or 1, d, *G]");
  require((int64_t)origin.size() == d && (int64_t)spacing.size() == d, op, "origin and spacing must have one entry an axis");
  WarpShape s{x.size(0), x.size(1), d, {1, 1, 1}, {0, 0, 0}, {1, 1, 1}, x.stride(0), x.stride(1), 0, nearest, border};
  int64_t reach = 1, per_sample = d;
  for (int64_t i = 0; i < d; ++i) {
    const int64_t a = 3 - d + i;
    s.size[a] = x.size(2 + i);
    s.stride[a] = x.stride(2 + i);
    s.points[a] = control.size(2 + i);
    require(s.size[a] > 0 && s.points[a] > 0, op, "every axis needs at least one voxel and one control point");
    require(spacing[i] > 0 && std::isfinite(spacing[i]) && std::isfinite(origin[i]), op, "spacing must be above 0");
    reach += (s.size[a] - 1) * s.stride[a];
    per_sample *= s.points[a];
  }
  require(reach < (int64_t)1 << 31 && per_sample < (int64_t)1 << 31, op, "one channel spans more than 2^31 - 1 values");
  s.control_stride = control.size(0) == 1 ? 0 : per_sample;
  return s;
}

}  // namespace medseg
