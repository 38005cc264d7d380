// medseg::bspline_warp on the CPU. Rules: medseg/ops/bspline_warp.py.
#include "../common/last_backend.h"
#include "bspline_rows.h"
#include "op_helpers.h"

namespace medseg::cpu {
namespace {

using Floats = std::vector<double>;

// Calls row(walker, begin, end, rows of a sample) for stretches of output rows; every thread has its own walker.
template <class T, class Row>
void for_rows(const WarpPlan<T>& plan, const T* control, const Row& row) {
  const WarpShape& s = plan.s;
  const int64_t rows = s.batch * s.size[0] * s.size[1], per_plane = s.size[0] * s.size[1];
  torch::stable::parallel_for(0, rows, grain(s.size[2] * (20 + 10 * s.channels)), [&](int64_t begin, int64_t end) {
    RowDisplacement<T> walker(plan, control);
    row(walker, begin, end, per_plane);
  });
}

template <class T>
void warp_linear(const WarpPlan<T>& plan, const Tensor& x, const Tensor& control, T fill, Tensor& out) {
  const WarpShape& s = plan.s;
  const int64_t n = s.size[2], plane = s.size[0] * s.size[1] * n;
  const int64_t step[3] = {s.size[0] > 1 ? s.stride[0] : 0, s.size[1] > 1 ? s.stride[1] : 0, n > 1 ? s.stride[2] : 0};
  const T* from = x.const_data_ptr<T>();
  T* to = out.mutable_data_ptr<T>();
  for_rows(plan, control.const_data_ptr<T>(), [&](RowDisplacement<T>& walker, int64_t begin, int64_t end, int64_t per_plane) {
    std::vector<int32_t> offset(n);
    std::vector<T> values(4 * n);
    T* v = values.data();
    const WarpRow<T> row{offset.data(), {v, v + n, v + 2 * n}, s.border ? nullptr : v + 3 * n};
    for (int64_t i = begin; i < end; ++i) {
      const int64_t b = i / per_plane, z = i % per_plane / s.size[1], y = i % s.size[1];
      plan.table.place(walker.row(b, z, y), (T)z, (T)y, s.size, s.stride, n, &row);
      for (int64_t c = 0; c < s.channels; ++c)
        plan.table.sample(from + b * s.batch_stride + c * s.channel_stride, &row, step, fill, n,
                               to + (b * s.channels + c) * plane + i % per_plane * n);
    }
  });
}

// U: an integer as wide as a value; `out` holds the fill value already.
template <class T, class U>
void warp_nearest(const WarpPlan<T>& plan, const Tensor& x, const Tensor& control, Tensor& out) {
  const WarpShape& s = plan.s;
  const int64_t n = s.size[2], plane = s.size[0] * s.size[1] * n;
  const U* from = static_cast<const U*>(x.data_ptr());
  U* to = static_cast<U*>(out.data_ptr());
  for_rows(plan, control.const_data_ptr<T>(), [&](RowDisplacement<T>& walker, int64_t begin, int64_t end, int64_t per_plane) {
    std::vector<int32_t> offset(n);
    for (int64_t i = begin; i < end; ++i) {
      const int64_t b = i / per_plane, z = i % per_plane / s.size[1], y = i % s.size[1];
      plan.table.place_nearest(walker.row(b, z, y), (T)z, (T)y, s.size, s.stride, s.border, n, offset.data());
      for (int64_t c = 0; c < s.channels; ++c) {
        const U* source = from + b * s.batch_stride + c * s.channel_stride;
        U* target = to + (b * s.channels + c) * plane + i % per_plane * n;
        for (int64_t v = 0; v < n; ++v)
          if (offset[v] >= 0) target[v] = source[offset[v]];
      }
    }
  });
}

template <class T>
Tensor warp(const WarpShape& s, const Tensor& x, const Tensor& control, const Floats& origin, const Floats& spacing, double fill) {
  const WarpPlan<T> plan(s, origin, spacing);
  Tensor out = torch::stable::new_empty(x, full_shape(x));
  if (!s.nearest) {
    warp_linear<T>(plan, x, control, (T)fill, out);
    return out;
  }
  if (!s.border) torch::stable::fill_(out, fill);
  switch (x.element_size()) {
    case 1: warp_nearest<T, uint8_t>(plan, x, control, out); break;
    case 2: warp_nearest<T, uint16_t>(plan, x, control, out); break;
    case 4: warp_nearest<T, uint32_t>(plan, x, control, out); break;
    default: warp_nearest<T, uint64_t>(plan, x, control, out);
  }
  return out;
}

Tensor bspline_warp(const Tensor& x_in, const Tensor& control_in, Floats origin, Floats spacing, bool nearest, bool border,
                    double fill) {
  const char* op = "bspline_warp";
  const ScalarType type = control_in.scalar_type();
  check_bspline_warp(op, x_in, control_in, origin, spacing, nearest, border);
  const Tensor x = nearest ? x_in : as_type(x_in, type), control = torch::stable::contiguous(control_in);
  const WarpShape s = check_bspline_warp(op, x, control, origin, spacing, nearest, border);
  const bool wide = type == ScalarType::Double;
  const Tensor out = wide ? warp<double>(s, x, control, origin, spacing, fill) : warp<float>(s, x, control, origin, spacing, fill);
  note_backend(op, backend_name(type));
  return nearest ? out : as_type(out, x_in.scalar_type());
}

}  // namespace
}  // namespace medseg::cpu

STABLE_TORCH_LIBRARY_FRAGMENT(medseg, m) {
  m.def("bspline_warp(Tensor x, Tensor control, float[] origin, float[] spacing, bool nearest, bool border, float fill) -> Tensor");
  m.def("bspline_warp_backward(Tensor grad, Tensor x, Tensor control, float[] origin, float[] spacing, bool nearest, "
        "bool border, float fill, bool need_x, bool need_control) -> (Tensor, Tensor)");
}

STABLE_TORCH_LIBRARY_IMPL(medseg, CPU, m) { m.impl("bspline_warp", TORCH_BOX(&medseg::cpu::bspline_warp)); }
